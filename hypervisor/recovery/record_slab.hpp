// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/page_pool.hpp"
#include "recovery/record.hpp"

namespace vmsrs::recovery {

// The records of one server, 31 to a page of the pool. reserve() may fail; take() after it may not.
// Not thread-safe: under the server's lock.
class RecordSlab {
 public:
  static constexpr std::uint32_t kRecordsPerPage = 31;  // the first place holds the page's header

  void initialise(PagePool& pool, Owner owner);

  // Makes sure that `count` records can be taken; if not, takes no memory at all.
  [[nodiscard]] bool reserve(std::uint64_t count);
  RecordId take();
  void give(RecordId id);
  void trim();   // empty pages go back to the pool
  void reset();  // all pages go back, whatever they hold

  Record& at(RecordId id) const {
    return static_cast<Record*>(pool_->address(id / kPlaces))[id % kPlaces];
  }
  // Is this the number of a living record of this server? Safe for any number.
  bool holds(RecordId id) const;

  static constexpr RecordId first_of(std::uint32_t page) { return page * kPlaces; }
  static constexpr std::uint32_t page_of(RecordId id) { return id / kPlaces; }
  // Of a page that belongs to the server: does it hold records?
  bool holds_records(std::uint32_t page) const {
    return header(page).magic == kMagic && header(page).owner == owner_;
  }
  // Calls visit(id, record) for each living record of a page that holds records.
  template <typename Visit>
  void for_each(std::uint32_t page, Visit visit) const {
    for (RecordId id = first_of(page) + 1; id < first_of(page + 1); ++id)
      if (at(id).live != 0) visit(id, at(id));
  }

  // A page's free list, count, checksums and neighbours; the invariant `storage`.
  void check(std::uint32_t page, vmsrs_check_result& result, std::uint32_t server) const;

 private:
  friend struct EngineProbe;

  static constexpr std::uint32_t kPlaces = 32;
  static constexpr std::uint64_t kMagic = 0x52454356534d5652;
  enum List : std::uint32_t { kEmpty, kOpen, kFull, kListCount };
  struct Header {
    std::uint64_t magic;
    std::uint32_t next, previous;
    std::uint32_t live_count;
    std::uint32_t free_head;  // place in the page; 0: none
    Owner owner;
    std::uint8_t reserved[103];
  };
  static_assert(sizeof(Header) == sizeof(Record));

  Header& header(std::uint32_t page) const { return *static_cast<Header*>(pool_->address(page)); }
  static List list_for(const Header& header);
  void link(std::uint32_t page, List list);
  void unlink(std::uint32_t page, List list);
  bool add_page();
  bool sound_page(std::uint32_t page) const;
  bool sound_neighbours(std::uint32_t page) const;

  PagePool* pool_ = nullptr;
  Owner owner_ = kOwnerNobody;
  std::uint32_t heads_[kListCount] = {};
  std::uint64_t free_count_ = 0;
};

}  // namespace vmsrs::recovery
