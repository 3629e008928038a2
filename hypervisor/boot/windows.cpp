// SPDX-License-Identifier: Apache-2.0
#include "boot/windows.hpp"

#include "svm/console.hpp"

namespace vmsrs::boot {

void adopt_windows(svm::PhysicalRange image, WindowFrames& frames) {
  std::uint32_t found = 0;
  for (std::uint64_t page = image.begin; page < image.end; page += svm::kPage) {
    vmsrs_window_mark mark;
    __builtin_memcpy(&mark, reinterpret_cast<const void*>(page), sizeof(mark));
    if (__builtin_memcmp(mark.mark, VMSRS_WINDOW_MARK, sizeof(mark.mark)) != 0) continue;
    if (mark.server >= VMSRS_MAX_SERVERS || mark.page >= VMSRS_WINDOW_PAGES || mark.reserved != 0) {
      console::stop("the windows image has a mark that is not ours: server ", mark.server, " page ",
                    mark.page);
    }
    std::uint64_t& frame = frames.frame[mark.server][mark.page];
    if (frame != 0) {
      console::stop("the windows image has server ", mark.server, " page ", mark.page, " twice");
    }
    frame = page;
    ++found;
  }
  constexpr std::uint32_t kWanted = VMSRS_MAX_SERVERS * VMSRS_WINDOW_PAGES;
  if (found != kWanted) {
    console::stop("the windows image (module 2) has ", found, " of ", kWanted,
                  " window pages; make it with deploy/guest/make-windows-image.sh");
  }
  for (const auto& server : frames.frame) {
    for (const std::uint64_t frame : server) {
      __builtin_memset(reinterpret_cast<void*>(frame), 0, svm::kPage);
    }
  }
}

}  // namespace vmsrs::boot
