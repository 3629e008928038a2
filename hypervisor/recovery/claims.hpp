// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <cstdint>
#include <vmsrs/test_hooks.hpp>

#include "recovery/bytes.hpp"
#include "recovery/region.hpp"
#include "recovery/user_table.hpp"

// Access to the words that engine and server share in a region with claims (docs/protocol.md). The
// server may change them at any instant, by right or by a wild write: each is read once, and what
// it says is believed only as far as the protocol does.
namespace vmsrs::recovery {

using hooks::hole, hooks::step, hooks::Step;

// What a tag says.
struct Claimant {
  vmsrs_tag_kind kind = VMSRS_TAG_DAMAGED;
  Slot slot = kNoSlot;  // of OWN and FROZEN
  std::uint64_t generation = 0;

  // Also while it is being repaired, which whoever began it need not end.
  bool damaged() const { return kind == VMSRS_TAG_DAMAGED || kind == VMSRS_TAG_REPAIRING; }
};

inline Claimant claimant_of(std::uint64_t tag, std::uint64_t granule) {
  const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
  if (kind != VMSRS_TAG_OWN && kind != VMSRS_TAG_FROZEN) return {kind, kNoSlot, 0};
  return {kind, static_cast<Slot>(vmsrs_tag_slot(tag)), vmsrs_tag_generation(tag)};
}

inline std::uint64_t load_word(const std::uint64_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline void store_word(std::uint64_t& word, std::uint64_t value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

// The masked bytes of a granule go to its mirror. `words`: those of the granule of which the mask
// has a byte, lowest first (vmsrs_written_words).
void commit_words(std::uint8_t* mirror, const void* words, ByteMask mask);

// A granule and its claim, reachable until the call under way ends. A region's granules never cross
// a page, nor do claims.
class MappedGranule {
 public:
  // Needs write access to both.
  static MemoryOutcome map(const Region& region, std::uint32_t granule, GuestMemory& memory,
                           MappedGranule& out);

  // Lets the lines of a granule, its claim and its mirror come, if it can be reached.
  static void fetch(const Region& region, std::uint32_t granule, GuestMemory& memory);

  // Lets its lines come as they are needed for writing the mirror's bytes into it.
  void expect_restoration(const std::uint8_t* mirror) const {
    __builtin_prefetch(claim_, 1);
    __builtin_prefetch(words_, 1);
    __builtin_prefetch(mirror);
  }

  std::uint64_t tag() const { return load_word(claim_->tag); }
  Claimant claimant() const { return claimant_of(tag(), granule_); }
  std::uint64_t unowned_tag() const {
    return vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_UNOWNED, 0, 0), granule_);
  }
  void set_tag(vmsrs_tag_kind kind, std::uint64_t slot = 0, std::uint64_t generation = 0) {
    store_word(claim_->tag, vmsrs_tag(vmsrs_tag_body(kind, slot, generation), granule_));
  }
  // False: the tag was no longer `seen`.
  bool change_tag(std::uint64_t seen, vmsrs_tag_kind kind, std::uint64_t slot = 0,
                  std::uint64_t generation = 0) {
    const std::uint64_t tag = vmsrs_tag(vmsrs_tag_body(kind, slot, generation), granule_);
    if (hole(16)) seen = claim_->tag;
    return __atomic_compare_exchange_n(&claim_->tag, &seen, tag, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
  }
  ByteMask mask() const { return load_word(claim_->mask) & granule_mask_; }

  void read(std::uint8_t* to) const;     // the whole granule, word by word
  void write(const std::uint8_t* from);  // only words that differ
  // Bytes outside the mask become the mirror's; says whether any differed.
  bool restore_outside(ByteMask mask, const std::uint8_t* mirror);

 private:
  std::uint32_t granule_ = 0;
  std::uint32_t bytes_ = 0;
  ByteMask granule_mask_ = 0;
  vmsrs_claim* claim_ = nullptr;
  std::uint64_t* words_ = nullptr;
};

}  // namespace vmsrs::recovery
