// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "channel/hypercall.hpp"
#include "config/config.hpp"

namespace vmsrs::daemon {

// vmsrsd, all of it: returns the exit code (ops_common/exit_codes.hpp) and says why in one line on
// stderr if it is not 0. `probe` finds the engine; tests have one of their own.
using ProbeFunction = std::function<channel::Probe(const config::Config&)>;
[[nodiscard]] int run(int argc, char** argv, const ProbeFunction& probe);

}  // namespace vmsrs::daemon
