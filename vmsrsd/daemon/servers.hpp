// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "channel/channel.hpp"
#include "config/config.hpp"

namespace vmsrs::daemon {

// Tells the hypervisor of every server of the configuration; the same name again replaces what it
// knew. Throws config::Error for a secret that cannot be read (then nothing was pushed) and for a
// server that the hypervisor refuses.
void push_servers(channel::Channel& channel, const config::Config& config);

// SIGHUP: takes over `servers` from the file, and tells the hypervisor of a management secret that
// has been replaced in its file; logs by name what changed otherwise and needs a new
// start, and servers that went from the file but stay defined. A file that cannot be used is logged
// and changes nothing.
void reload(channel::Channel& channel, const std::string& file, config::Config& config);

}  // namespace vmsrs::daemon
