// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "channel/hypercall.hpp"

namespace vmsrs::daemon {

// vmsrsd, all of it: returns the exit code (ops_common/exit_codes.hpp) and says why in one line on
// stderr if it is not 0. `probe` finds what is below Linux; tests have one of their own.
[[nodiscard]] int run(int argc, char** argv, const std::function<channel::Probe()>& probe);

}  // namespace vmsrs::daemon
