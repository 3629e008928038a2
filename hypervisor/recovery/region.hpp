// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/guest_memory.hpp"
#include "recovery/heads.hpp"
#include "recovery/page_pool.hpp"
#include "recovery/record.hpp"
#include "recovery/region_map.hpp"

namespace vmsrs::recovery {

// A protected range of a server's memory, which each of its processes may have at another address.
// Its mirror holds the committed value of every byte; per granule there is the head of a chain of
// records. A region is reserved first and filled piece by
// piece; only filled granules have a mirror and a head that mean anything. A named region outlives
// its process: it is kept, mirror and all, until a process profiles the name again; then it is
// filled the other way round, memory from mirror.
struct Region {
  // kLeaving: nobody reaches it any more, and what it has goes piece by piece.
  enum class State : std::uint8_t { kNone, kKept, kFilling, kLive, kLeaving };

  State state = State::kNone;
  // No process's address, whatever is added to it within a region: all access to it fails.
  static constexpr std::uint64_t kNowhere = 1ull << 63;

  bool fills_memory = false;  // while filling: from the mirror, which is whole
  bool has_claims = false;    // false: every store traps
  bool has_orphans = false;   // may users own granules here that no process has any more?
  bool eager = false;         // restored at the crash, not on demand
  std::uint8_t granule_shift = 0;
  std::uint8_t bucket_shift = 0;  // of its map
  std::uint16_t processes = 0;    // that have it in their memory: a bit each
  // Guest-virtual, in the process whose call is under way; kNowhere: it has not joined the region.
  std::uint64_t address = kNowhere;
  std::uint64_t claims = kNowhere;  // of its first vmsrs_claim
  // Granules that have been looked at for such users, or for records of a region that leaves.
  std::uint64_t orphan_scan = 0;
  std::uint64_t bytes = 0;
  std::uint64_t filled = 0;
  std::uint64_t record_count = 0;
  std::uint8_t* mirror = nullptr;
  Heads heads;
  RegionMap* map = nullptr;  // in hidden memory, the server's
  std::uint32_t mirror_page = 0, mirror_pages = 0;
  char name[VMSRS_NAME_BYTES] = {};  // empty: none

  std::uint32_t granule_bytes() const { return 1u << granule_shift; }
  std::uint64_t granule_count() const { return bytes >> granule_shift; }
  std::uint64_t filled_granules() const { return filled >> granule_shift; }
  ByteMask granule_mask() const { return mask_of(0, granule_bytes()); }
  std::uint8_t* mirror_of(std::uint32_t granule) const {
    return mirror + (std::uint64_t{granule} << granule_shift);
  }
  GuestVirtual address_of(std::uint32_t granule) const {
    return GuestVirtual{address + (std::uint64_t{granule} << granule_shift)};
  }
  bool in_use() const { return state == State::kFilling || state == State::kLive; }
  // Has the mirror a content that the server's memory has still to get?
  bool waits() const { return state == State::kKept || fills_memory; }
  bool has_name() const { return name[0] != 0; }
  // Can the process whose call is under way reach it?
  bool joined() const { return address != kNowhere; }
  bool contains(std::uint64_t at, std::uint64_t count) const {
    return in_use() && at >= address && count <= bytes && at - address <= bytes - count;
  }
  bool overlaps(std::uint64_t at, std::uint64_t count) const {
    return in_use() && at < address + bytes && address < at + count;
  }

  // Takes the mirror and the heads' directory from the pool, or nothing at all.
  [[nodiscard]] bool reserve(PagePool& pool, Owner owner);
  void release(PagePool& pool);
  void keep(PagePool& pool);  // without a process; there must be no records
  // Its last process leaves; `kept`: its mirror and its name are to stay.
  void leave(bool kept);
  // The end of that, without records: it is kept or gone. False: there is more, and no step left.
  [[nodiscard]] bool give_back(PagePool& pool, std::uint32_t& steps);
  void fill_memory();
};

// The part of a range [first, first + bytes) of a region that lies in one granule.
struct Piece {
  std::uint32_t granule;
  ByteMask mask;         // bytes of the granule
  std::uint32_t offset;  // of the first byte in the range
  std::uint32_t first;   // of the first byte in the granule
  std::uint32_t bytes;
};

// Walks the granules that a range touches, in order of address.
class Pieces {
 public:
  Pieces(const Region& region, std::uint64_t at, std::uint64_t bytes)
      : shift_(region.granule_shift), at_(at - region.address), bytes_(bytes) {}
  bool next(Piece& piece) {
    if (done_ == bytes_) return false;
    const std::uint64_t at = at_ + done_;
    const std::uint64_t size = 1ull << shift_;
    const std::uint64_t first = at & (size - 1);
    const std::uint64_t count = bytes_ - done_ < size - first ? bytes_ - done_ : size - first;
    piece.granule = static_cast<std::uint32_t>(at >> shift_);
    piece.first = static_cast<std::uint32_t>(first);
    piece.bytes = static_cast<std::uint32_t>(count);
    piece.mask = mask_of(piece.first, piece.bytes);
    piece.offset = static_cast<std::uint32_t>(done_);
    done_ += count;
    return true;
  }

 private:
  std::uint8_t shift_;
  std::uint64_t at_;
  std::uint64_t bytes_;
  std::uint64_t done_ = 0;
};

}  // namespace vmsrs::recovery
