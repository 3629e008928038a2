// SPDX-License-Identifier: Apache-2.0
#include "recovery/record_slab.hpp"

#include "recovery/verdict.hpp"

namespace vmsrs::recovery {

void RecordSlab::initialise(PagePool& pool, Owner owner) {
  pool_ = &pool;
  owner_ = owner;
}

RecordSlab::List RecordSlab::list_for(const Header& header) {
  if (header.live_count == 0) return kEmpty;
  return header.live_count == kRecordsPerPage ? kFull : kOpen;
}

void RecordSlab::link(std::uint32_t page, List list) {
  Header& mine = header(page);
  mine.next = heads_[list];
  mine.previous = 0;
  if (mine.next != 0) header(mine.next).previous = page;
  heads_[list] = page;
}

void RecordSlab::unlink(std::uint32_t page, List list) {
  const Header& mine = header(page);
  if (mine.previous != 0)
    header(mine.previous).next = mine.next;
  else
    heads_[list] = mine.next;
  if (mine.next != 0) header(mine.next).previous = mine.previous;
}

bool RecordSlab::add_page() {
  const std::uint32_t page = pool_->take(1, owner_);
  if (page == 0) return false;
  Header& mine = header(page);
  clear_bytes(&mine, sizeof mine);
  mine.magic = kMagic;
  mine.owner = owner_;
  mine.free_head = 1;
  for (std::uint32_t place = 1; place < kPlaces; ++place) {
    Record& record = at(page * kPlaces + place);
    record.live = 0;
    record.older = (place + 1) % kPlaces;
  }
  link(page, kEmpty);
  free_count_ += kRecordsPerPage;
  return true;
}

bool RecordSlab::reserve(std::uint64_t count) {
  while (free_count_ < count) {
    if (add_page()) continue;
    trim();
    return false;
  }
  return true;
}

RecordId RecordSlab::take() {
  const List from = heads_[kOpen] != 0 ? kOpen : kEmpty;
  const std::uint32_t page = heads_[from];
  Header& mine = header(page);
  const RecordId id = page * kPlaces + mine.free_head;
  mine.free_head = at(id).older;
  ++mine.live_count;
  --free_count_;
  if (const List now = list_for(mine); now != from) {
    unlink(page, from);
    link(page, now);
  }
  clear_bytes(&at(id), sizeof(Record));
  at(id).live = 1;
  return id;
}

void RecordSlab::give(RecordId id) {
  const std::uint32_t page = id / kPlaces;
  Header& mine = header(page);
  const List from = list_for(mine);
  at(id).live = 0;
  at(id).older = mine.free_head;
  mine.free_head = id % kPlaces;
  --mine.live_count;
  ++free_count_;
  if (const List now = list_for(mine); now != from) {
    unlink(page, from);
    link(page, now);
  }
}

void RecordSlab::trim() {
  while (const std::uint32_t page = heads_[kEmpty]) {
    unlink(page, kEmpty);
    free_count_ -= kRecordsPerPage;
    pool_->give(page, 1);
  }
}

void RecordSlab::reset() {
  for (std::uint32_t& head : heads_) {
    while (const std::uint32_t page = head) {
      head = header(page).next;
      pool_->give(page, 1);
    }
  }
  free_count_ = 0;
}

bool RecordSlab::holds(RecordId id) const {
  const std::uint32_t page = id / kPlaces;
  if (id % kPlaces == 0 || page >= pool_->capacity_bytes() / VMSRS_PAGE_BYTES) return false;
  return holds_records(page) && at(id).live == 1;
}

bool RecordSlab::sound_page(std::uint32_t page) const {
  const Header& mine = header(page);
  std::uint32_t live = 0;
  for (RecordId id = page * kPlaces + 1; id < (page + 1) * kPlaces; ++id) live += at(id).live;
  std::uint32_t free = 0;
  for (std::uint32_t place = mine.free_head; place != 0; place = at(page * kPlaces + place).older) {
    if (place >= kPlaces || at(page * kPlaces + place).live != 0) return false;
    if (++free > kRecordsPerPage) return false;
  }
  return live == mine.live_count && live + free == kRecordsPerPage;
}

bool RecordSlab::sound_neighbours(std::uint32_t page) const {
  const Header& mine = header(page);
  const auto ours = [this](std::uint32_t other) {
    return other < pool_->page_count() && holds_records(other);
  };
  const bool next = mine.next == 0 || (ours(mine.next) && header(mine.next).previous == page);
  if (mine.previous == 0) return next && heads_[list_for(mine)] == page;
  return next && ours(mine.previous) && header(mine.previous).next == page;
}

void RecordSlab::check(std::uint32_t page, vmsrs_check_result& result, std::uint32_t server) const {
  ++result.examined_count;
  if (!holds_records(page)) return violated(result, server, page);
  if (!sound_page(page) || !sound_neighbours(page)) violated(result, server, page);
  for_each(page, [&](RecordId id, const Record& record) {
    ++result.examined_count;
    if (record.checksum != checksum_of(record, id)) violated(result, server, record.granule);
  });
}

}  // namespace vmsrs::recovery
