// SPDX-License-Identifier: Apache-2.0
#include "recovery/region.hpp"

namespace vmsrs::recovery {

bool Region::reserve(PagePool& pool, Owner owner) {
  mirror_pages = pages_for(bytes);
  mirror_page = pool.take(mirror_pages, owner);
  if (mirror_page == 0) return false;
  if (!heads.initialise(pool, granule_count(), owner)) {
    pool.give(mirror_page, mirror_pages);
    return false;
  }
  mirror = static_cast<std::uint8_t*>(pool.address(mirror_page));
  return true;
}

void Region::release(PagePool& pool) {
  if (state == State::kNone) return;
  pool.give(mirror_page, mirror_pages);
  heads.release(pool);
  *this = Region{};
}

void Region::keep(PagePool& pool) {
  heads.clear(pool);
  state = State::kKept;
  fills_memory = has_claims = has_orphans = false;
  processes = 0;
  address = claims = kNowhere;
  filled = record_count = 0;
}

void Region::leave(bool kept) {
  state = State::kLeaving;
  orphan_scan = 0;
  if (!kept) name[0] = 0;
}

bool Region::give_back(PagePool& pool, std::uint32_t& steps) {
  constexpr std::uint32_t kPagesOfStep = 16;
  if (has_name()) return keep(pool), true;
  for (; mirror_pages > 0; --steps) {
    if (steps == 0) return false;
    const std::uint32_t pages = mirror_pages < kPagesOfStep ? mirror_pages : kPagesOfStep;
    mirror_pages -= pages;
    pool.give(mirror_page + mirror_pages, pages);
  }
  return release(pool), true;
}

void Region::fill_memory() {
  state = State::kFilling;
  fills_memory = true;
  filled = 0;
}

}  // namespace vmsrs::recovery
