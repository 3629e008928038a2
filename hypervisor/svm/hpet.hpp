// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

// A high precision event timer (IA-PC HPET specification 1.0a): one of its comparators, which sends
// a message at a given time. Registers by address, as the host maps them.
class Hpet {
 public:
  // False: there is none at that address, or none of its comparators sends messages.
  bool find(std::uint64_t registers);
  // Starts the counter. When it has got so much further: `data` is written to `address`, once.
  void start(std::uint64_t microseconds, std::uint32_t address, std::uint32_t data);
  // Has that time come?
  bool due() const;
  // Once more, so much later than now.
  void rearm();

 private:
  volatile std::uint64_t& at(std::uint64_t offset) const {
    return *reinterpret_cast<volatile std::uint64_t*>(registers_ + offset);
  }
  // Counters may be of 32 bits.
  std::uint32_t now() const;

  std::uint64_t registers_ = 0;
  std::uint64_t comparator_ = 0;  // offset of its registers
  std::uint32_t ticks_ = 0;
  std::uint32_t due_ = 0;
};

}  // namespace vmsrs::svm
