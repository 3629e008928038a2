// SPDX-License-Identifier: Apache-2.0
#include "control.hpp"

#include <sys/mman.h>

namespace vmsrs::guest {

// Aligned to its own size: nothing else shares the page.
alignas(VMSRS_PAGE_BYTES) ControlPage control_page;

bool unlock_control() {
  return mprotect(&control_page, sizeof control_page, PROT_READ | PROT_WRITE) == 0;
}

bool lock_control() { return mprotect(&control_page, sizeof control_page, PROT_READ) == 0; }

}  // namespace vmsrs::guest
