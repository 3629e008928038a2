// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/processor.hpp"

namespace vmsrs::svm {

// How a guest's operating system can come to its end without having said so before.
enum class GuestEnd : std::uint32_t {
  kShutdown = 1,  // triple fault
  kPanic,         // its kernel says that it panics
  kReset,         // it resets the machine
  kHang,          // no CPU takes interrupts any more
};

// Holds the other CPUs, records the end and ends the machine. From any CPU's exit handler, without
// locks; where several CPUs find an end, the first one's counts.
[[noreturn]] void end_guest(Processor& processor, GuestEnd end);

}  // namespace vmsrs::svm
