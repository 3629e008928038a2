// SPDX-License-Identifier: Apache-2.0
#include "views.hpp"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmsrs/text.h>
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "next.hpp"
#include "options.hpp"

namespace vmsrs::preload {
namespace {

constexpr std::size_t kPage = VMSRS_PAGE_BYTES;
constexpr unsigned kGranule = 64;

struct View {
  std::byte* at;
  std::size_t bytes;  // whole pages
  std::byte* region;
};

constinit View views[kMostRegions]{};
constinit std::size_t view_count_ = 0;  // views[] up to there are whole
constinit bool views_are_private = false;
constinit std::size_t wanted[kMostRegions]{};  // 0: none, or it is there
constinit std::size_t wanted_count = 0;
constinit thread_local bool makes_view = false;
constinit std::atomic_flag making = ATOMIC_FLAG_INIT;

std::size_t count() { return __atomic_load_n(&view_count_, __ATOMIC_ACQUIRE); }

const View* block_at(const void* at) {
  const auto* const byte = static_cast<const std::byte*>(at);
  for (std::size_t i = 0; i < count(); ++i)
    if (static_cast<std::size_t>(byte - views[i].at) < views[i].bytes) return &views[i];
  return nullptr;
}

const View* view_at(const void* at) { return views_are_private ? nullptr : block_at(at); }

// In the region what is in a view; anything else as it is.
template <typename T>
T* behind(T* at) {
  const View* const view = view_at(at);
  if (view == nullptr) return at;
  const auto offset =
      reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(view->at);
  return reinterpret_cast<T*>(view->region + offset);
}

void* fail_view(std::size_t bytes, const char* why) {
  dprintf(STDERR_FILENO, "vmsrs: the block of %zu bytes is no region: %s\n", bytes, why);
  return nullptr;
}

// Pages that nobody may touch stand on both sides of the region: what runs past its end faults.
std::byte* make_region(std::size_t bytes) {
  void* const all = mmap(nullptr, bytes + 2 * kPage, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  void* const at = mmap(static_cast<std::byte*>(all) + kPage, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return at != MAP_FAILED ? static_cast<std::byte*>(at) : nullptr;
}

void* make_view(std::size_t asked) {
  const std::size_t bytes = (asked + kPage - 1) / kPage * kPage;
  std::byte* const region = make_region(bytes);
  if (region == nullptr) return fail_view(asked, strerrordesc_np(errno));
  const vmsrs_profile_options options = {.name = nullptr, .eager = true};
  if (vmsrs_profile(region, bytes, kGranule, &options) < 0)
    return fail_view(asked, vmsrs_error_message());
  // Of no bytes of a shared mapping: a second one of the same memory (mremap(2)).
  void* const at = mremap(region, 0, bytes, MREMAP_MAYMOVE);
  if (at == MAP_FAILED) return fail_view(asked, strerrordesc_np(errno));
  if (mprotect(at, bytes, PROT_READ) != 0) return fail_view(asked, strerrordesc_np(errno));
  const std::size_t number = count();
  views[number] = {static_cast<std::byte*>(at), bytes, region};
  __atomic_store_n(&view_count_, number + 1, __ATOMIC_RELEASE);
  return at;
}

// A view if the size is one that was named; nullptr: allocate as ever.
void* allocate_view(std::size_t bytes) {
  if (wanted_count == 0 || views_are_private || makes_view) [[likely]]
    return nullptr;
  if (std::find(wanted, wanted + wanted_count, bytes) == wanted + wanted_count || bytes == 0)
    return nullptr;
  while (making.test_and_set(std::memory_order_acquire)) usleep(100);
  std::size_t* const place = std::find(wanted, wanted + wanted_count, bytes);
  void* at = nullptr;
  if (place != wanted + wanted_count) {
    *place = 0;
    makes_view = true;
    at = make_view(bytes);
    makes_view = false;
  }
  making.clear(std::memory_order_release);
  return at;
}

// The allocator behind this one. The loader may free what an earlier look-up has left while one of
// these is looked up, and that must not look up again: until all are known, what is freed is left,
// and what is asked for is not there.
struct Allocator {
  decltype(&::malloc) malloc;
  decltype(&::calloc) calloc;
  decltype(&::realloc) realloc;
  decltype(&::free) free;
};
constinit Allocator next{};
constinit bool next_is_known = false;
constinit thread_local bool looks_up = false;

template <typename Function>
void look_up(Function& function, const char* name) {
  function = reinterpret_cast<Function>(find_next(name));
}

const Allocator& next_allocator() {
  static constexpr Allocator kNone = {
      [](std::size_t) noexcept -> void* { return nullptr; },
      [](std::size_t, std::size_t) noexcept -> void* { return nullptr; },
      [](void*, std::size_t) noexcept -> void* { return nullptr; }, [](void*) noexcept {}};
  if (__atomic_load_n(&next_is_known, __ATOMIC_ACQUIRE)) [[likely]]
    return next;
  if (looks_up) return kNone;
  looks_up = true;
  look_up(next.malloc, "malloc");
  look_up(next.calloc, "calloc");
  look_up(next.realloc, "realloc");
  look_up(next.free, "free");
  looks_up = false;
  __atomic_store_n(&next_is_known, true, __ATOMIC_RELEASE);
  return next;
}

}  // namespace

void open_views(const std::size_t* bytes, std::size_t number) {
  std::copy(bytes, bytes + number, wanted);
  wanted_count = number;
}

std::size_t view_count() { return count(); }

void make_views_private() {
  wanted_count = 0;
  for (std::size_t i = 0; i < count(); ++i) {
    const View& view = views[i];
    void* const copy =
        mmap(nullptr, view.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) continue;  // then it can be read, and a store to it faults
    std::copy(view.at, view.at + view.bytes, static_cast<std::byte*>(copy));
    mremap(copy, view.bytes, view.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, view.at);
  }
  views_are_private = true;
}

}  // namespace vmsrs::preload

using namespace vmsrs::preload;

// What memory_functions.cpp calls here in place of the library's own (CMakeLists.txt).
extern "C" {

bool vmsrs_view_is_in_region(const void* at, std::size_t) { return view_at(at) != nullptr; }

void vmsrs_view_store_range(void* to, const void* from, std::size_t bytes) {
  vmsrs_store_range(behind(to), behind(from), bytes);
}
void* vmsrs_view_memcpy(void* to, const void* from, std::size_t bytes) {
  vmsrs_memcpy(behind(to), behind(from), bytes);
  return to;
}
void* vmsrs_view_memmove(void* to, const void* from, std::size_t bytes) {
  vmsrs_memmove(behind(to), behind(from), bytes);
  return to;
}
void* vmsrs_view_memset(void* to, int byte, std::size_t bytes) {
  vmsrs_memset(behind(to), byte, bytes);
  return to;
}
char* vmsrs_view_strcpy(char* to, const char* from) {
  vmsrs_strcpy(behind(to), behind(from));
  return to;
}
char* vmsrs_view_stpcpy(char* to, const char* from) {
  char* const region = behind(to);
  return to + (vmsrs_stpcpy(region, behind(from)) - region);
}
char* vmsrs_view_strncpy(char* to, const char* from, std::size_t bytes) {
  vmsrs_strncpy(behind(to), behind(from), bytes);
  return to;
}
char* vmsrs_view_strcat(char* to, const char* from) {
  vmsrs_strcat(behind(to), behind(from));
  return to;
}
char* vmsrs_view_strncat(char* to, const char* from, std::size_t most) {
  vmsrs_strncat(behind(to), behind(from), most);
  return to;
}
int vmsrs_view_vsnprintf(char* to, std::size_t bytes, const char* format, va_list arguments) {
  return vmsrs_vsnprintf(behind(to), bytes, format, arguments);
}

// ---- Allocation. A view stays when it is freed: its memory is given back with the process.

void* malloc(std::size_t bytes) noexcept {
  void* const view = allocate_view(bytes);
  return view != nullptr ? view : next_allocator().malloc(bytes);
}
void* calloc(std::size_t members, std::size_t bytes) noexcept {
  std::size_t all = 0;
  void* const view = __builtin_mul_overflow(members, bytes, &all) ? nullptr : allocate_view(all);
  return view != nullptr ? view : next_allocator().calloc(members, bytes);
}
void free(void* block) noexcept {
  if (block != nullptr && block_at(block) == nullptr) next_allocator().free(block);
}
void* realloc(void* block, std::size_t bytes) noexcept {
  const View* const view = block_at(block);
  if (view == nullptr) return next_allocator().realloc(block, bytes);
  if (bytes <= view->bytes) return block;
  void* const larger = next_allocator().malloc(bytes);
  if (larger != nullptr) memcpy(larger, block, view->bytes);
  return larger;
}
void* reallocarray(void* block, std::size_t members, std::size_t bytes) noexcept {
  std::size_t all = 0;
  if (!__builtin_mul_overflow(members, bytes, &all)) return realloc(block, all);
  errno = ENOMEM;
  return nullptr;
}
std::size_t malloc_usable_size(void* block) noexcept {
  const View* const view = block_at(block);
  return view != nullptr ? view->bytes : VMSRS_NEXT(malloc_usable_size)(block);
}

}  // extern "C"
