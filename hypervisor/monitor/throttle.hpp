// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/spin_lock.hpp"

namespace vmsrs::monitor {

// Slows down guessing of secrets: after three failures in a row from one address space it must wait
// 100 ms, and twice as long after each further one, up to 10 s. Counted for each address space by
// itself, so that a program that guesses does not lock others out. (With 256-bit secrets nothing
// depends on it; it keeps the noise down.) Thread-safe.
class Throttle {
 public:
  // Must this address space still wait?
  bool waits(std::uint64_t address_space, const recovery::Platform& platform);
  void failed(std::uint64_t address_space, const recovery::Platform& platform);
  void succeeded(std::uint64_t address_space, const recovery::Platform& platform);

 private:
  static constexpr unsigned kEntries = 64;
  struct Entry {
    std::uint64_t address_space;
    std::uint64_t failed_ns;
    std::uint64_t until_ns;
    std::uint32_t failures;  // in a row; 0: unused
  };
  Entry* find(std::uint64_t address_space);
  Entry* claim(std::uint64_t address_space);

  recovery::SpinLock lock_;
  Entry entries_[kEntries] = {};
};

}  // namespace vmsrs::monitor
