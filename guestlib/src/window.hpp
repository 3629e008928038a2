// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

namespace vmsrs::guest {

// Of a process that is not attached any more. The mapping stays, for threads look at its mode word
// without asking whether it is still there: what they see from now on is a mode that none of them
// knows. Async-signal-safe.
void retire_window(const vmsrs_window* window);

}  // namespace vmsrs::guest
