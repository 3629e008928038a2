// SPDX-License-Identifier: Apache-2.0
// Kinds that the guest library notices, or that are aimed at it; and those that never end.
#include <signal.h>
#include <vmsrs/internal.h>

#include <algorithm>
#include <mutex>
#include <vmsrs/vmsrs.hpp>

#include "kinds.hpp"

namespace matrix {
namespace {

void free_twice(const Scene&) {
  void* const memory = vmsrs_malloc(100);
  vmsrs_free(memory);
  vmsrs_free(memory);
}

// Up to the block's neighbour, whose begin it damages.
void overrun_block(const Scene&) {
  auto* const block = static_cast<char*>(vmsrs_malloc(48));
  auto* const next = static_cast<char*>(vmsrs_malloc(48));
  char* const low = std::min(block, next);
  for (char* at = hidden(low); at < std::max(block, next); ++at) *at = 'x';
  vmsrs_free(std::max(block, next));
}

void use_after_free(const Scene&) {
  const auto object = vmsrs::make<vmsrs::Shared<std::uint64_t>>();
  vmsrs::destroy(object);
  *object = 1;
}

void index_that_is_none(const Scene& scene) {
  auto& words = *reinterpret_cast<vmsrs::Array<std::uint64_t, 8>*>(scene.words);
  words[hidden(std::size_t{8})] = 1;
}

void store_elsewhere(const Scene&) {
  std::uint64_t local = 0;
  vmsrs::store(hidden(&local), std::uint64_t{1});
}

void scribble(const Scene&) {
  vmsrs_internal_range ranges[32];
  const std::size_t count = std::min(vmsrs_internal_ranges(ranges, 32), std::size_t{32});
  for (std::size_t i = 0; i < count; ++i) {
    auto* const at = static_cast<volatile unsigned char*>(ranges[i].address);
    const std::size_t step = ranges[i].writable ? 1 : 4096;
    for (std::size_t byte = 0; byte < ranges[i].bytes; byte += step) at[byte] = 0xa5;
  }
  *hidden(reinterpret_cast<volatile std::uint64_t*>(kWild)) = 1;
}

void store_wild(const Scene& scene) {
  *scene.provoked = *scene.provoked + 1;
  *hidden(reinterpret_cast<volatile std::uint64_t*>(kWild)) = 1;
}
void loop(const Scene& scene) {
  for (;;) asm volatile("pause" : : "r"(scene.words));
}

void lock_twice(const Scene&) {
  static std::mutex mutex;
  mutex.lock();
  mutex.lock();
}

constexpr Kind kLibrary[] = {
    {"heap_double_free", "`vmsrs_free` twice", 0, VMSRS_FAULT_CHECK, free_twice, kNeedsLibrary},
    {"heap_overrun", "a block of `vmsrs_malloc` overrun into its neighbour, found by `vmsrs_free`",
     0, VMSRS_FAULT_CHECK, overrun_block, kNeedsLibrary},
    {"use_after_free", "a `vmsrs::Ptr` used after its object was freed", 0, VMSRS_FAULT_CHECK,
     use_after_free, kNeedsLibrary},
    {"bad_index", "an index beyond a `vmsrs::Array`", 0, VMSRS_FAULT_CHECK, index_that_is_none,
     kNeedsLibrary},
    {"store_elsewhere", "`vmsrs::store` to memory that is not profiled", 0, VMSRS_FAULT_CHECK,
     store_elsewhere, kNeedsLibrary},
    {"scribble", "stores over all memory that the library keeps, then a wild one", 0,
     VMSRS_FAULT_WILD, scribble, kNeedsLibrary | kLeavesDamage | kMayTellOthers},
};

constexpr Kind kEndless[] = {
    {"endless_faults", "a wild store, again and again", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene& scene) {
       for (;;) store_wild(scene);
     }},
    {"endless_after_fault", "a wild store, then a loop without an end", SIGSEGV, VMSRS_FAULT_WILD,
     [](const Scene& scene) {
       store_wild(scene);
       loop(scene);
     }},
    {"endless_loop", "a loop without an end; the server's watchdog calls `vmsrs_user_suppress`", 0,
     VMSRS_FAULT_NONE, loop},
    {"endless_wait", "a mutex locked twice by one thread; the watchdog does the same", 0,
     VMSRS_FAULT_NONE, lock_twice},
};

}  // namespace

std::span<const Kind> library_kinds() { return kLibrary; }
std::span<const Kind> endless_kinds() { return kEndless; }

}  // namespace matrix
