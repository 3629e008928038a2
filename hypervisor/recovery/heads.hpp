// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/page_pool.hpp"
#include "recovery/record.hpp"

namespace vmsrs::recovery {

// Of each granule of a region the newest record that lies upon it. Most granules have none: a page
// of heads is taken when the first of its granules is about to get one, and given back after the
// last one has lost it. Only granules that were prepared have a head that means anything.
// Not thread-safe: under the server's lock.
class Heads {
 public:
  struct Page {
    std::uint64_t magic;
    std::uint32_t directory_page;  // of these heads
    std::uint32_t place;           // in the directory
    std::uint32_t used;            // heads that lead to a record
    std::uint32_t is_idle;         // it is among those that trim() looks at
    std::uint32_t next_idle;
    std::uint32_t reserved;
    RecordId heads[(VMSRS_PAGE_BYTES - 32) / sizeof(RecordId)];
  };
  static constexpr std::uint32_t kHeadsPerPage = sizeof(Page::heads) / sizeof(RecordId);

  // Takes the directory from the pool. False: there is no room.
  [[nodiscard]] bool initialise(PagePool& pool, std::uint64_t granules, Owner owner);
  void release(PagePool& pool);
  // The granules below are prepared; those that were before stay as they are.
  void prepare(std::uint64_t granules);
  // No granule has a head any more.
  void clear(PagePool& pool);

  RecordId operator[](std::uint32_t granule) const {
    const std::uint32_t page = page_of(granule);
    return page == 0 ? kNoRecord : at(page).heads[granule % kHeadsPerPage];
  }
  // Makes sure that the heads of granules `first` to `last` can be set, until the next trim().
  // False: there is no room.
  [[nodiscard]] bool reserve(PagePool& pool, std::uint32_t first, std::uint32_t last, Owner owner);
  void set(std::uint32_t granule, RecordId id) {
    const std::uint32_t number = page_of(granule);
    Page& page = at(number);
    RecordId& head = page.heads[granule % kHeadsPerPage];
    page.used = page.used + (id != kNoRecord) - (head != kNoRecord);
    head = id;
    if (page.used == 0) note_idle(number);
  }
  // Are there pages that trim() may give back?
  bool has_idle() const { return idle_ != 0; }
  void trim(PagePool& pool);
  // The next granule that may have a head.
  std::uint64_t skip_from(std::uint32_t granule) const;

  // The page of the granule's head; 0: it has none.
  std::uint32_t page_of(std::uint32_t granule) const { return directory_[granule / kHeadsPerPage]; }

  bool has_directory_page(std::uint32_t page) const {
    return page - directory_page_ < directory_pages_;
  }
  std::uint32_t end_of_directory() const { return directory_page_ + directory_pages_; }
  std::uint32_t page_count() const { return directory_pages_ + pages_; }
  // Is that page of the pool one of these?
  bool has_page(std::uint32_t page) const;
  // Of such a page, afresh: are as many of its heads in use as it says?
  bool sound_page(std::uint32_t page) const;

 private:
  static constexpr std::uint64_t kMagic = 0x48454144534d5652;

  void note_idle(std::uint32_t page);
  Page& at(std::uint32_t page) const {
    return *reinterpret_cast<Page*>(storage_ + std::uint64_t{page} * VMSRS_PAGE_BYTES);
  }

  std::uint8_t* storage_ = nullptr;     // the pool's page 0
  std::uint32_t* directory_ = nullptr;  // pages of heads; 0: all their granules have none
  std::uint32_t directory_page_ = 0, directory_pages_ = 0;
  std::uint32_t prepared_ = 0;  // entries of the directory
  std::uint32_t pages_ = 0;     // of heads
  std::uint32_t idle_ = 0;      // first of the pages that may have no head in use
};
static_assert(sizeof(Heads::Page) == VMSRS_PAGE_BYTES);

}  // namespace vmsrs::recovery
