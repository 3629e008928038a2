// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/features.hpp"

namespace vmsrs::svm {

// As long as one lives, this CPU reaches the guest's memory; at all other times a use of it is a
// page fault of the hypervisor's, so that no pointer from the guest is followed by mistake (SMAP,
// APM vol. 2, 5.6.6). Not nested. Does nothing on a processor without SMAP.
class GuestAccess {
 public:
  GuestAccess() {
    if (features().smap) asm volatile("stac" ::: "memory");
  }
  ~GuestAccess() {
    if (features().smap) asm volatile("clac" ::: "memory");
  }
  GuestAccess(const GuestAccess&) = delete;
  GuestAccess& operator=(const GuestAccess&) = delete;
};

}  // namespace vmsrs::svm
