// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "svm/x86.hpp"

namespace vmsrs::svm {

// For the few lines that CPUs of the hypervisor do one at a time. Not recursive.
class SpinLock {
 public:
  void lock() {
    while (held_.exchange(true, std::memory_order_acquire)) x86::pause();
  }
  void unlock() { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace vmsrs::svm
