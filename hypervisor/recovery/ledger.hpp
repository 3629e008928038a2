// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/record_slab.hpp"
#include "recovery/region.hpp"
#include "recovery/user_table.hpp"

namespace vmsrs::recovery {

// Who wrote what: the hidden truth about one server's regions. It knows nothing of guest memory,
// which others bring into line with it. What byte b of a granule is worth to a normal user is
// compose()'s answer: the newest record of a user not crashed, else the mirror.
// Not thread-safe: under the server's lock.
class Ledger {
 public:
  void initialise(PagePool& pool, Owner owner);

  // ---- storing
  // Must a record be taken for these bytes, or does one of the user's own have room for them?
  bool needs_record(const Region& region, std::uint32_t granule, Slot slot, ByteMask mask) const;
  // Makes sure that so many records can be taken for the granules `first` to `last`.
  [[nodiscard]] bool reserve(Region& region, std::uint32_t first, std::uint32_t last,
                             std::uint64_t records);
  // What holds no record any more goes back to the pool.
  void trim();
  // The bytes are the user's newest. `from` points at the granule's byte 0, of which only masked
  // ones are read. A record that is needed must have been reserved.
  void put(std::uint8_t region, std::uint32_t granule, Slot slot, ByteMask mask,
           const std::uint8_t* from);
  // The same without a record: as if by a user of its own that finishes at once.
  void put_committed(std::uint8_t region, std::uint32_t granule, ByteMask mask,
                     const std::uint8_t* from);

  // ---- crashed users
  bool has_crashed(const Region& region, std::uint32_t granule) const;
  // Bytes whose last writer is crashed.
  ByteMask polluted(const Region& region, std::uint32_t granule) const;
  void compose(const Region& region, std::uint32_t granule, std::uint8_t* out) const;
  // The chain's crashed records go. Counts the restoration for those users whose bytes were on top.
  void drop_crashed(Region& region, std::uint32_t granule);

  // ---- granules with claims: a frozen one has an empty record of its owner, whose sequence is the
  // ticket of the freeze
  RecordId freeze(std::uint8_t region, std::uint32_t granule,
                  Slot slot);  // must have been reserved
  RecordId freeze_of(const Region& region, std::uint32_t granule, Slot slot) const;
  void thaw(RecordId id) { remove(id); }
  // The frozen granule's masked bytes are the owner's record now; none: the record goes.
  void unfold(RecordId id, ByteMask mask, const std::uint8_t* granule);

  // ---- finishing
  // What the user wrote becomes the committed value: from hidden to hidden memory, cannot fail.
  void commit(Slot slot);

  static constexpr std::uint64_t place_of(std::uint32_t region, std::uint64_t granule) {
    return std::uint64_t{region} << 32 | granule;
  }
  bool contended(const Region& region, std::uint32_t granule) const;
  Record& at(RecordId id) const { return slab.at(id); }
  // Records in a region that leaves. False: there are more, and no step left.
  [[nodiscard]] bool forget_records(std::uint8_t region, std::uint32_t& steps);
  void forget_everything();  // all records; regions must be released or emptied by the caller

  Region regions[VMSRS_MAX_REGIONS];
  UserTable users;
  RecordSlab slab;
  Tally record_count;        // by number
  Tally records_of_users;    // the same, by slot
  Tally contended_granules;  // by place_of
  std::uint64_t sequence = 0;
  std::uint64_t restoration = 0;

 private:
  class ChainEdit;

  PagePool* pool_ = nullptr;
  Owner owner_ = kOwnerNobody;
  bool idle_heads_ = false;  // some region has pages of heads to give back

  RecordId mergeable(const Region& region, std::uint32_t granule, Slot slot, ByteMask mask) const;
  RecordId push(std::uint8_t region, std::uint32_t granule, Slot slot);
  void strip(RecordId id, ByteMask mask);
  void strip_from(RecordId id, ByteMask mask);  // it and all that are older
  void remove(RecordId id);
};

}  // namespace vmsrs::recovery
