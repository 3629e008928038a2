// SPDX-License-Identifier: Apache-2.0
#include "window.hpp"

#include <sys/mman.h>

#include <cstring>

namespace vmsrs::guest {

void retire_window(const vmsrs_window* window) {
  void* const end =
      mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (end == MAP_FAILED) return;
  std::memset(end, 0xff, VMSRS_WINDOW_BYTES);
  mprotect(end, VMSRS_WINDOW_BYTES, PROT_READ);
  mremap(end, VMSRS_WINDOW_BYTES, VMSRS_WINDOW_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
         const_cast<vmsrs_window*>(window));
}

}  // namespace vmsrs::guest
