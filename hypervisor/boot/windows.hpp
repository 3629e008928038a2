// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include "svm/address.hpp"

namespace vmsrs::boot {

// The windows image is a file system in which every page that the hypervisor shall write begins
// with a vmsrs_window_mark. Finds the frames by their marks, wherever the file system put them, and
// clears them. Stops with a clear line unless every page of every server is there exactly once.
struct WindowFrames {
  std::uint64_t frame[VMSRS_MAX_SERVERS][VMSRS_WINDOW_PAGES] = {};
};
void adopt_windows(svm::PhysicalRange image, WindowFrames& frames);

}  // namespace vmsrs::boot
