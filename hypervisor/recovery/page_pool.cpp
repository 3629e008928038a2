// SPDX-License-Identifier: Apache-2.0
#include "recovery/page_pool.hpp"

#include "recovery/bytes.hpp"
#include "recovery/verdict.hpp"

namespace vmsrs::recovery {

bool PagePool::initialise(const Platform& platform, void* memory, std::size_t bytes) {
  constexpr std::size_t kMostPages =
      0x07000000;  // a record's number has 32 bits, a page 32 records
  std::size_t pages = bytes / VMSRS_PAGE_BYTES;
  if (pages > kMostPages) pages = kMostPages;
  const std::size_t bitmap_bytes = (pages + 63) / 64 * 8;
  const std::size_t table_pages =
      (bitmap_bytes + pages * sizeof(Owner) + VMSRS_PAGE_BYTES - 1) / VMSRS_PAGE_BYTES;
  if (pages <= table_pages) return false;

  platform_ = &platform;
  base_ = static_cast<std::uint8_t*>(memory);
  page_count_ = static_cast<std::uint32_t>(pages);
  bitmap_ = static_cast<std::uint64_t*>(memory);
  owners_ = base_ + bitmap_bytes;
  clear_bytes(base_, table_pages * VMSRS_PAGE_BYTES);
  mark(0, static_cast<std::uint32_t>(table_pages), kOwnerEngine);
  return true;
}

// In the bitmap, a word at a time: a region's pages are many.
void PagePool::set_used(std::uint32_t first, std::uint32_t pages, bool used) {
  for (std::uint32_t left = pages; left > 0;) {
    const std::uint32_t place = first % 64;
    const std::uint32_t count = left < 64 - place ? left : 64 - place;
    const std::uint64_t bits = mask_of(place, count);
    bitmap_[first / 64] = used ? bitmap_[first / 64] | bits : bitmap_[first / 64] & ~bits;
    first += count;
    left -= count;
  }
}

void PagePool::mark(std::uint32_t first, std::uint32_t pages, Owner owner) {
  set_used(first, pages, true);
  __builtin_memset(owners_ + first, owner, pages);
  used_[owner].add_run(first, pages);
  if (first == lowest_free_) lowest_free_ = first + pages;
}

std::uint32_t PagePool::find_run(std::uint32_t pages) const {
  std::uint32_t run = 0;
  for (std::uint32_t page = lowest_free_; page < page_count_; ++page) {
    if (page % 64 == 0 && bitmap_[page / 64] == ~0ull) {
      run = 0;
      page += 63;
      continue;
    }
    if (page % 64 == 0 && bitmap_[page / 64] == 0 && run + 64 < pages) {
      run += 64;
      page += 63;
      continue;
    }
    run = used(page) ? 0 : run + 1;
    if (run == pages) return page + 1 - pages;
  }
  return 0;
}

std::uint32_t PagePool::take(std::uint32_t pages, Owner owner) {
  if (pages == 0) return 0;
  const LockGuard guard(lock_, *platform_);
  if (quota_[owner] != 0 && used_[owner] + pages > quota_[owner]) return 0;
  const std::uint32_t first = find_run(pages);
  if (first != 0) mark(first, pages, owner);
  return first;
}

void PagePool::give(std::uint32_t first, std::uint32_t pages) {
  const LockGuard guard(lock_, *platform_);
  set_used(first, pages, false);
  for (std::uint32_t page = first, end = first + pages; page < end;) {
    const std::uint32_t begin = page;
    const Owner owner = owners_[begin];
    while (page < end && owners_[page] == owner) owners_[page++] = kOwnerNobody;
    used_[owner].remove_run(begin, page - begin);
  }
  if (first < lowest_free_) lowest_free_ = first;
}

void PagePool::set_quota(Owner owner, std::uint64_t pages) {
  const LockGuard guard(lock_, *platform_);
  quota_[owner] = pages;
}

std::uint64_t PagePool::used_bytes() const {
  const LockGuard guard(lock_, *platform_);
  std::uint64_t pages = 0;
  for (const Tally& used : used_) pages += used;
  return pages * VMSRS_PAGE_BYTES;
}

std::uint64_t PagePool::used_bytes(Owner owner) const {
  const LockGuard guard(lock_, *platform_);
  return used_[owner] * VMSRS_PAGE_BYTES;
}

bool PagePool::find_owned(Owner owner, std::uint32_t& page, std::uint32_t count) const {
  const LockGuard guard(lock_, *platform_);
  const std::uint32_t end = count < page_count_ - page ? page + count : page_count_;
  while (page < end && owners_[page] != owner) ++page;
  return page < end;
}

void PagePool::begin_check() {
  const LockGuard guard(lock_, *platform_);
  checked_ = 0;
  for (Tally& used : used_) used.begin_recount();
}

bool PagePool::check_piece(vmsrs_check_result& result) {
  const LockGuard guard(lock_, *platform_);
  if (checked_ == page_count_) return false;
  std::uint32_t counted[kOwnerCount] = {};
  for (std::uint32_t i = 0; i < kPagesOfPiece && checked_ < page_count_; ++i, ++checked_) {
    ++result.examined_count;
    const Owner owner = owners_[checked_];
    const bool sound = owner < kOwnerCount && used(checked_) == (owner != kOwnerNobody);
    if (!sound) violated(result, kNoServer, checked_);
    if (owner < kOwnerCount) ++counted[owner];
  }
  for (std::uint32_t owner = kOwnerEngine; owner < kOwnerCount; ++owner)
    used_[owner].pass(checked_, counted[owner]);
  if (checked_ < page_count_) return true;
  for (std::uint32_t owner = kOwnerEngine; owner < kOwnerCount; ++owner)
    if (used_[owner].recount() != used_[owner])
      violated(result, owner >= 2 ? owner - 2 : kNoServer, owner);
  return false;
}

}  // namespace vmsrs::recovery
