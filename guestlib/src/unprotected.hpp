// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "control.hpp"

// The hypervisor has contradicted itself, and Linux goes on without it (VMSRS_NO_ENGINE). So does
// the program: as if it were not attached, but that bodies of scopes run, and that what a user who
// had crashed before still stores is dropped.
namespace vmsrs::guest {

// Once true, for the process's life. Not before go_on_unprotected() has ended.
inline bool is_unprotected() {
  return __atomic_load_n(&control_page.block.unprotected, __ATOMIC_ACQUIRE);
}

// After a call that was answered by VMSRS_NO_ENGINE; the first one tells on stderr. Any thread, any
// number of times; async-signal-safe.
void go_on_unprotected();

// While is_unprotected(): may the calling thread store? Not if its user had crashed: then it is
// unwound, or, where it cannot be, false.
[[nodiscard]] bool may_store_unprotected();

}  // namespace vmsrs::guest
