// SPDX-License-Identifier: Apache-2.0
#include "recovery/heads.hpp"

#include "recovery/bytes.hpp"

namespace vmsrs::recovery {

bool Heads::initialise(PagePool& pool, std::uint64_t granules, Owner owner) {
  const std::uint64_t entries = (granules + kHeadsPerPage - 1) / kHeadsPerPage;
  directory_pages_ = pages_for(entries * sizeof *directory_);
  directory_page_ = pool.take(directory_pages_, owner);
  if (directory_page_ == 0) return false;
  storage_ = static_cast<std::uint8_t*>(pool.address(0));
  directory_ = static_cast<std::uint32_t*>(pool.address(directory_page_));
  return true;
}

void Heads::release(PagePool& pool) {
  clear(pool);
  pool.give(directory_page_, directory_pages_);
  *this = Heads{};
}

void Heads::prepare(std::uint64_t granules) {
  const std::uint64_t entries = (granules + kHeadsPerPage - 1) / kHeadsPerPage;
  while (prepared_ < entries) directory_[prepared_++] = 0;
}

void Heads::clear(PagePool& pool) {
  for (std::uint32_t place = 0; place < prepared_ && pages_ > 0; ++place) {
    if (directory_[place] == 0) continue;
    pool.give(directory_[place], 1);
    directory_[place] = 0;
    --pages_;
  }
  idle_ = 0;
}

void Heads::note_idle(std::uint32_t page) {
  if (at(page).is_idle != 0) return;
  at(page).is_idle = 1;
  at(page).next_idle = idle_;
  idle_ = page;
}

void Heads::trim(PagePool& pool) {
  while (const std::uint32_t page = idle_) {
    idle_ = at(page).next_idle;
    at(page).is_idle = 0;
    if (at(page).used != 0) continue;
    directory_[at(page).place] = 0;
    --pages_;
    pool.give(page, 1);
  }
}

bool Heads::reserve(PagePool& pool, std::uint32_t first, std::uint32_t last, Owner owner) {
  for (std::uint32_t place = first / kHeadsPerPage; place <= last / kHeadsPerPage; ++place) {
    if (directory_[place] != 0) continue;
    const std::uint32_t page = pool.take(1, owner);
    if (page == 0) return false;
    clear_bytes(&at(page), sizeof(Page));
    at(page).magic = kMagic;
    at(page).directory_page = directory_page_;
    at(page).place = place;
    directory_[place] = page;
    ++pages_;
    note_idle(page);
  }
  return true;
}

std::uint64_t Heads::skip_from(std::uint32_t granule) const {
  const std::uint64_t place = granule / kHeadsPerPage;
  return directory_[place] != 0 ? granule : (place + 1) * kHeadsPerPage;
}

bool Heads::has_page(std::uint32_t page) const {
  const Page& one = at(page);
  return one.magic == kMagic && one.directory_page == directory_page_ && one.place < prepared_ &&
         directory_[one.place] == page;
}

bool Heads::sound_page(std::uint32_t page) const {
  std::uint32_t used = 0;
  for (const RecordId head : at(page).heads) used += head != kNoRecord;
  return used == at(page).used;
}

}  // namespace vmsrs::recovery
