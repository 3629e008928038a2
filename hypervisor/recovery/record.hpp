// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/bytes.hpp"

namespace vmsrs::recovery {

// A record's number: its page in the pool * 32 + its place in the page. 0: none.
using RecordId = std::uint32_t;
constexpr RecordId kNoRecord = 0;

// What one user wrote into one granule: the unit of recovery data. Records of a granule form a
// chain, newest first; records of a user form a list. No two records of one chain hold the same
// byte of the same user, so per byte a chain tells the exact order of writers.
struct Record {
  std::uint64_t sequence;    // the newer the higher
  ByteMask mask;             // bytes written; empty only while its granule is frozen for its writer
  std::uint64_t generation;  // the writer's
  std::uint8_t bytes[64];
  RecordId older, newer;                    // the granule's chain
  RecordId next_of_user, previous_of_user;  // the writer's list
  std::uint32_t granule;
  std::uint32_t checksum;  // over all but the links
  std::uint16_t slot;      // the writer's
  std::uint8_t region;
  std::uint8_t live;  // 1: in use; 0: on its page's free list (linked by `older`)
  std::uint32_t reserved[3];
};
static_assert(sizeof(Record) == 128);

// Damage shows; it is not meant to withstand forgery (nobody but the engine can write here).
inline std::uint32_t checksum_of(const Record& record, RecordId id) {
  std::uint64_t words[8];
  copy_bytes(words, record.bytes, sizeof words);
  std::uint64_t sum = 0x9e3779b97f4a7c15ull ^ id;
  const auto mix = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * 0xff51afd7ed558ccdull;
    sum ^= sum >> 32;
  };
  mix(record.sequence);
  mix(record.mask);
  mix(record.generation);
  for (const std::uint64_t word : words) mix(word);
  mix(std::uint64_t{record.granule} << 32 | std::uint64_t{record.slot} << 8 | record.region);
  return static_cast<std::uint32_t>(sum);
}

inline void seal(Record& record, RecordId id) { record.checksum = checksum_of(record, id); }

}  // namespace vmsrs::recovery
