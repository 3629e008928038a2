// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "verbs/verbs.hpp"

namespace vmsrs::cli {

// --hosts, --label, --all, --fleet and --parallel.
void add_host_options(CLI::App& app, Context& context);

// After the command line was read: puts the work on the hosts that were chosen, if any were. Asks
// once, with their names, before a verb changes something on several. Throws Failure.
void turn_to_hosts(const CLI::App& app, Context& context);

}  // namespace vmsrs::cli
