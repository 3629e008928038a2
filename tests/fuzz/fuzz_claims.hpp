// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "fuzz_memory.hpp"

namespace vmsrs::fuzz {

// What a server's library writes into its own memory where its region has claims: tags, masks and
// write sets, as docs/protocol.md has them. What a user says of them at its end is right as long as
// nobody has damaged them.
class FuzzClaims {
 public:
  static constexpr std::uint64_t kRegion = FuzzMemory::kBase + 8 * kPageBytes;
  static constexpr std::uint64_t kRegionBytes = kPageBytes;
  static constexpr std::uint64_t kClaims = kRegion + kRegionBytes;
  static constexpr std::uint64_t kHandedOver = kClaims + 2 * kPageBytes;  // of 8-byte granules
  static constexpr std::uint64_t kAreas = FuzzMemory::kAreas;
  static constexpr std::uint64_t kAreaBytes = VMSRS_MIN_USER_AREA_BYTES;
  static constexpr std::uint64_t kUsers = 4;  // slots that are written for

  // A slot's user; begins anew when its generation does.
  struct User {
    std::uint64_t slot = 0;
    std::uint64_t generation = 0;
    vmsrs_write_set set{};
    std::vector<std::uint64_t> entries;
  };
  struct HandedOver {
    std::uint64_t bytes;
    std::uint64_t sum;
  };

  User& user(std::uint64_t slot, std::uint64_t generation);
  // Stores, where the word's granule is the user's, or nobody's: then it is claimed. Nobody's is
  // what belongs to a generation that `over` says is over.
  using Over = std::function<bool(std::uint64_t slot, std::uint64_t generation)>;
  void store(FuzzMemory& memory, User& user, std::uint64_t granule_bytes, std::uint64_t word,
             std::uint64_t value, const Over& over);
  // Puts what the user's masks name to kHandedOver.
  HandedOver hand_over(FuzzMemory& memory, const User& user, std::uint64_t granule_bytes) const;
  static std::uint64_t area_of(std::uint64_t slot) { return kAreas + slot * kAreaBytes; }

 private:
  std::array<User, kUsers> users_;
};

}  // namespace vmsrs::fuzz
