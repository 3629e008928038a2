// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/protect.h>

#include <cstddef>
#include <cstdint>
#include <vmsrs/fast.hpp>

// What clang's -fsanitize=kernel-address calls before each store, in place of a sanitizer's
// run-time library. A store to a granule that is the user's already needs no more than this; all
// else is vmsrs_reserve_store's. The functions lie in a section of their own: the library must know
// whether a thread that it interrupts is in one of them.
namespace {

namespace fast = vmsrs::fast;

#define VMSRS_IN_SECTION [[gnu::section("vmsrs_hooks"), gnu::noinline]]

// Stores that reach into more than one granule are left to the library.
VMSRS_IN_SECTION void reserve(std::uint64_t to, std::size_t bytes, const void* resume) {
  fast::Thread& thread = vmsrs_fast_thread;
  const fast::Region& region = thread.region;
  const std::uint64_t at = to - region.begin;
  const std::uint64_t first = at & region.within;
  if (at < region.bytes && first + bytes <= region.within + 1) [[likely]] {
    const std::uint64_t granule = at >> region.shift;
    fast::open_hook_window(*thread.area);
    if (fast::mode_of(thread) == thread.seen_any &&
        __atomic_load_n(&region.claims[granule].tag, __ATOMIC_RELAXED) ==
            vmsrs_tag_of(thread.own, thread.own_check, granule)) [[likely]]
      return fast::set_mask(region, granule, fast::mask_of(first, bytes), thread.set);
  }
  vmsrs_reserve_store(reinterpret_cast<const void*>(to), bytes, resume);
}

#ifdef VMSRS_TEST_HOOK
extern "C" void vmsrs_test_hook(const void* at);
#endif

[[gnu::always_inline]] inline void before_store(const void* at, std::size_t bytes,
                                                const void* resume) {
  const auto to = reinterpret_cast<std::uint64_t>(at);
  const std::uint64_t last = bytes - 1;
  if (to + last - vmsrs_region_bounds.begin >= vmsrs_region_bounds.bytes + last) [[likely]]
    return;
#ifdef VMSRS_TEST_HOOK
  vmsrs_test_hook(at);
#endif
  reserve(to, bytes, resume);
}

extern "C" const char __start_vmsrs_hooks[], __stop_vmsrs_hooks[];

[[gnu::constructor]] void tell_where() {
  vmsrs_hooks_are_at(__start_vmsrs_hooks, __stop_vmsrs_hooks);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names
#define VMSRS_HOOK extern "C" VMSRS_IN_SECTION
VMSRS_HOOK void __asan_store1_noabort(const void* at) {
  before_store(at, 1, __builtin_return_address(0));
}
VMSRS_HOOK void __asan_store2_noabort(const void* at) {
  before_store(at, 2, __builtin_return_address(0));
}
VMSRS_HOOK void __asan_store4_noabort(const void* at) {
  before_store(at, 4, __builtin_return_address(0));
}
VMSRS_HOOK void __asan_store8_noabort(const void* at) {
  before_store(at, 8, __builtin_return_address(0));
}
VMSRS_HOOK void __asan_store16_noabort(const void* at) {
  before_store(at, 16, __builtin_return_address(0));
}
VMSRS_HOOK void __asan_storeN_noabort(const void* at, std::size_t bytes) {
  before_store(at, bytes, __builtin_return_address(0));
}
extern "C" void __asan_handle_no_return() {}
// NOLINTEND(bugprone-reserved-identifier)
