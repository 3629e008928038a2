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

void Region::fill_memory() {
  state = State::kFilling;
  fills_memory = true;
  filled = 0;
}

}  // namespace vmsrs::recovery
