// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

#include "recovery/spin_lock.hpp"
#include "recovery/tally.hpp"

namespace vmsrs::recovery {

// Whom a page of the recovery storage belongs to.
using Owner = std::uint8_t;
constexpr Owner kOwnerNobody = 0;
constexpr Owner kOwnerEngine = 1;  // tables that live as long as the machine
constexpr Owner owner_of(std::uint32_t server) { return static_cast<Owner>(server + 2); }
constexpr std::uint32_t kOwnerCount = VMSRS_MAX_SERVERS + 2;

constexpr std::uint32_t pages_for(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + VMSRS_PAGE_BYTES - 1) / VMSRS_PAGE_BYTES);
}

// The recovery storage as pages: runs are taken first-fit, each page has an owner, owners have
// quotas. A bitmap and a table of owners say the same thing twice, so that damage to one is seen.
// Page 0 holds those tables, so that page number 0 means "none". Thread-safe (own lock, the last in
// the lock order).
class PagePool {
 public:
  // False if the memory is too small to hold anything but its own tables.
  [[nodiscard]] bool initialise(const Platform& platform, void* memory, std::size_t bytes);

  // A run of pages, or 0 if there is none or the owner's quota forbids it.
  std::uint32_t take(std::uint32_t pages, Owner owner);
  void give(std::uint32_t first, std::uint32_t pages);

  void* address(std::uint32_t page) const { return base_ + std::size_t{page} * VMSRS_PAGE_BYTES; }
  void set_quota(Owner owner, std::uint64_t pages);  // 0: none
  std::uint64_t capacity_bytes() const { return std::uint64_t{page_count_} * VMSRS_PAGE_BYTES; }
  std::uint64_t used_bytes() const;
  std::uint64_t used_bytes(Owner owner) const;

  // Moves `page` on to the owner's first page among the next `count` ones. False: past them, for
  // there is none.
  bool find_owned(Owner owner, std::uint32_t& page, std::uint32_t count) const;
  std::uint32_t page_count() const { return page_count_; }

  // The invariant `storage`: compares both tables and the counts, kPagesOfPiece pages a call, and
  // adds to the result. Not two checks at a time.
  static constexpr std::uint32_t kPagesOfPiece = 4096;
  void begin_check();
  // True: there is more.
  bool check_piece(vmsrs_check_result& result);

 private:
  friend struct EngineProbe;  // tests damage what they then look for

  bool used(std::uint32_t page) const { return (bitmap_[page / 64] >> (page % 64) & 1) != 0; }
  std::uint32_t find_run(std::uint32_t pages) const;
  void mark(std::uint32_t first, std::uint32_t pages, Owner owner);
  void set_used(std::uint32_t first, std::uint32_t pages, bool used);

  const Platform* platform_ = nullptr;
  std::uint8_t* base_ = nullptr;
  std::uint64_t* bitmap_ = nullptr;
  Owner* owners_ = nullptr;
  std::uint32_t page_count_ = 0;
  std::uint32_t lowest_free_ = 0;  // no page below it is free
  Tally used_[kOwnerCount];        // by page
  std::uint64_t quota_[kOwnerCount] = {};
  std::uint32_t checked_ = 0;  // pages below were seen by the check under way
  mutable SpinLock lock_;
};

}  // namespace vmsrs::recovery
