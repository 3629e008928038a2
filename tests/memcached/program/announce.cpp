// SPDX-License-Identifier: Apache-2.0
// What is announced by hand (by_hand.h). That most of it is the user's already is seen here, as the
// library's hooks see it.
#include <vmsrs/protect.h>

#include <cstddef>
#include <cstdint>
#include <vmsrs/fast.hpp>

namespace {

namespace fast = vmsrs::fast;

bool is_in_region(std::uint64_t at) {
  return at - vmsrs_region_bounds.begin < vmsrs_region_bounds.bytes;
}

// Calls look(granule, mask) for each granule of these bytes that is the user's. False: one is not.
template <typename Look>
bool each_own(const fast::Thread& thread, std::uint64_t at, std::size_t bytes, Look look) {
  const fast::Region& region = thread.region;  // none: its user has announced nothing yet
  std::uint64_t offset = at - region.begin;
  if (offset >= region.bytes) return false;
  for (const std::uint64_t end = offset + bytes; offset < end;) {
    const std::uint64_t granule = offset >> region.shift, first = offset & region.within;
    const std::uint64_t left = region.within + 1 - first;
    const std::uint64_t now = end - offset < left ? end - offset : left;
    if (__atomic_load_n(&region.claims[granule].tag, __ATOMIC_RELAXED) !=
            vmsrs_tag_of(thread.own, thread.own_check, granule) ||
        !look(granule, fast::mask_of(first, now)))
      return false;
    offset += now;
  }
  return true;
}

bool is_own(fast::Thread& thread, std::uint64_t at, std::size_t bytes) {
  if (thread.region.bytes == 0) return false;
  fast::open_hook_window(*thread.area);
  return fast::mode_of(thread) == thread.seen_any &&
         each_own(thread, at, bytes, [&](std::uint64_t granule, std::uint64_t mask) {
           fast::set_mask(thread.region, granule, mask, thread.set);
           return true;
         });
}

}  // namespace

extern "C" [[noreturn]] void guard_refused();

extern "C" void guard_stores(const void* at, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uint64_t>(at);
  if (!is_in_region(address) || is_own(vmsrs_fast_thread, address, bytes)) return;
  // Its stores are many, some behind calls: they are not made one by one instead.
  if (!vmsrs_reserve_store(at, bytes, nullptr)) guard_refused();
}

extern "C" bool guard_has_many() {
  constexpr std::uint64_t kMany = 2000;
  return vmsrs_fast_thread.own != 0 && vmsrs_fast_thread.set.count > kMany;
}

// For faults.c: may these bytes be stored?
extern "C" bool guard_is_announced(const void* at, std::size_t bytes) {
  const fast::Thread& thread = vmsrs_fast_thread;
  const auto address = reinterpret_cast<std::uint64_t>(at);
  return !is_in_region(address) ||
         each_own(thread, address, bytes, [&](std::uint64_t granule, std::uint64_t mask) {
           return (__atomic_load_n(&thread.region.claims[granule].mask, __ATOMIC_RELAXED) & mask) ==
                  mask;
         });
}
