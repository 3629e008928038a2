// SPDX-License-Identifier: Apache-2.0
#include "recovery/region.hpp"

namespace vmsrs::recovery {
namespace {

std::uint32_t pages_for(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + VMSRS_PAGE_BYTES - 1) / VMSRS_PAGE_BYTES);
}

}  // namespace

bool Region::reserve(PagePool& pool, Owner owner) {
  mirror_pages = pages_for(bytes);
  heads_pages = pages_for(granule_count() * sizeof(RecordId));
  mirror_page = pool.take(mirror_pages, owner);
  if (mirror_page == 0) return false;
  heads_page = pool.take(heads_pages, owner);
  if (heads_page == 0) {
    pool.give(mirror_page, mirror_pages);
    return false;
  }
  mirror = static_cast<std::uint8_t*>(pool.address(mirror_page));
  heads = static_cast<RecordId*>(pool.address(heads_page));
  return true;
}

void Region::release(PagePool& pool) {
  if (state == State::kNone) return;
  pool.give(mirror_page, mirror_pages);
  pool.give(heads_page, heads_pages);
  *this = Region{};
}

void Region::keep() {
  state = State::kKept;
  fills_memory = has_claims = has_orphans = false;
  processes = 0;
  address = claims = kNowhere;
  filled = record_count = 0;
}

void Region::fill_memory() {
  state = State::kFilling;
  fills_memory = true;
  filled = 0;
}

}  // namespace vmsrs::recovery
