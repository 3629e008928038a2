// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

namespace vmsrs::recovery {

// Where in a region something is going on: its granules in at most VMSRS_MAP_BUCKETS runs, what the
// last look at them has found, and how far the one under way is. Under the server's lock.
struct RegionMap {
  struct Found {
    std::uint32_t owned, recorded, contended;
  };
  Found found[VMSRS_MAP_BUCKETS];             // by the last look
  Found finding[VMSRS_MAP_BUCKETS];           // by the look under way
  std::uint64_t restored[VMSRS_MAP_BUCKETS];  // since the region was profiled
  std::uint64_t granule;                      // where the look under way goes on
  std::uint64_t began_ns, ended_ns;  // of the last look; while one is under way it began then
  std::uint64_t duration_ns;
  std::uint32_t finding_flags, found_flags;
  bool wanted;  // a look is under way
  bool taken;   // one has ended
};

// Of the number of granules in a bucket, for a region of so many: a power of two, since each
// restoration asks which bucket it is in.
constexpr std::uint8_t bucket_shift_of(std::uint64_t granules) {
  std::uint8_t shift = 0;
  while (granules > std::uint64_t{VMSRS_MAP_BUCKETS} << shift) ++shift;
  return shift;
}

}  // namespace vmsrs::recovery
