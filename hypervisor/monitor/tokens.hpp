// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/spin_lock.hpp"

namespace vmsrs::monitor {

// Open management channels. A token is unguessable and good only in the address space that opened
// it. When the table is full, the oldest goes: whoever opens has the secret, so this is a crowd,
// not an attack. Thread-safe.
class Tokens {
 public:
  std::uint64_t open(std::uint64_t address_space, std::uint32_t capabilities,
                     recovery::Platform& platform);
  bool close(std::uint64_t token, std::uint64_t address_space, const recovery::Platform& platform);
  void close_all(std::uint64_t address_space, const recovery::Platform& platform);
  void close_all(const recovery::Platform& platform);
  // The capabilities of a token; 0: none such here.
  std::uint32_t capabilities(std::uint64_t token, std::uint64_t address_space,
                             const recovery::Platform& platform);
  // The same without the lock: nobody opens channels any more, and who held it may be gone.
  std::uint32_t last_capabilities(std::uint64_t token, std::uint64_t address_space);
  // Was there ever one? Without the lock: no call is under way.
  bool has_been_opened() const { return opened_ != 0; }

 private:
  static constexpr unsigned kEntries = 32;
  struct Entry {
    std::uint64_t token;  // 0: unused
    std::uint64_t address_space;
    std::uint64_t number;  // rises with each opening
    std::uint32_t capabilities;
  };
  Entry* find(std::uint64_t token, std::uint64_t address_space);

  recovery::SpinLock lock_;
  Entry entries_[kEntries] = {};
  std::uint64_t opened_ = 0;
};

}  // namespace vmsrs::monitor
