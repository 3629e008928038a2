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

  // Calls visit(id, record) for each living record.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const List list : {kOpen, kFull})
      for (std::uint32_t page = heads_[list]; page != 0; page = header(page).next)
        for (RecordId id = page * kPlaces + 1; id < (page + 1) * kPlaces; ++id)
          if (at(id).live != 0) visit(id, at(id));
  }

  // Free lists, counts and checksums; the invariant `storage`.
  void check(vmsrs_check_result& result, std::uint32_t server) const;

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

  PagePool* pool_ = nullptr;
  Owner owner_ = kOwnerNobody;
  std::uint32_t heads_[kListCount] = {};
  std::uint64_t free_count_ = 0;
};

}  // namespace vmsrs::recovery
