// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "config/config.hpp"

namespace vmsrs::daemon {

// Tells the hypervisor of every server of the configuration; the same name again replaces what it
// knew. Throws config::Error for a secret that cannot be read (then nothing was pushed) and for a
// server that the hypervisor refuses.
void push_servers(channel::Channel& channel, const config::Config& config);

// SIGHUP: takes over from the file, and the environment, what can change while the daemon runs, and
// pushes `servers`; tells the hypervisor of a management secret that has been replaced in its file;
// logs by name what changed otherwise and needs a new start, and servers that went from the file
// but stay defined. `use` is told the new configuration and the keys that were refused; what it
// throws keeps everything as it was. A file that cannot be used is logged and changes nothing.
void reload(channel::Channel& channel, const std::function<config::Config()>& load,
            config::Config& config,
            const std::function<void(const config::Config&, const std::vector<std::string>&)>& use);

}  // namespace vmsrs::daemon
