// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vmsrs::test {

// Where each thread of a victim is, as it says itself. In a file that outlives it: what stands
// there when it was killed is where it was.
enum Place : std::uint32_t { kBetweenUsers, kStoring, kEnding, kSuppressed, kPlaceCount };
constexpr std::size_t kVictimThreads = 16;

struct Places {
  std::atomic<std::uint32_t> of[kVictimThreads];
};

// How often something was hit in which place.
struct Hits {
  unsigned at[kPlaceCount];
};

}  // namespace vmsrs::test
