// SPDX-License-Identifier: Apache-2.0
#include "heap.hpp"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <vmsrs/vmsrs.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <new>

#include "../claims.hpp"
#include "../control.hpp"
#include "../effects.hpp"
#include "../error.hpp"
#include "../guest_call.hpp"
#include "../misuse.hpp"
#include "../suppression.hpp"
#include "../thread.hpp"
#include "buddy.hpp"

struct vmsrs_heap {
  std::byte* begin;  // of its first unit
  vmsrs::guest::Buddy buddy;
  pthread_mutex_t lock;  // of the buddy and of the notes
  std::uint32_t last_note;
  std::size_t mapped_bytes;  // of this object and what it keeps
};

namespace vmsrs::guest {
namespace {

std::atomic<std::uint64_t> quarantined{0};

constexpr std::size_t kUnit = Buddy::kUnitBytes;
constexpr std::size_t kHeadBytes = sizeof(BlockHead);
constexpr std::uint64_t kMostBytes = (1ull << 40) - 1;
constexpr unsigned kOffsetShift = 40;
constexpr std::size_t kMostAlignment = 1u << 26;  // offsets are kept in 24 bits, in units of 16

struct Block {
  std::uint32_t first = Buddy::kNone;  // unit
  std::uint32_t note = 0;              // of this use of it
};

class Locked {
 public:
  explicit Locked(vmsrs_heap& heap) : heap_(heap) { pthread_mutex_lock(&heap_.lock); }
  ~Locked() { pthread_mutex_unlock(&heap_.lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  NotUnwound not_unwound_;
  vmsrs_heap& heap_;
};

std::uint64_t identity_of(std::uint32_t first, std::uint32_t note, std::uint64_t size) {
  std::uint64_t mix = (size ^ (std::uint64_t{note} << 32 | first)) * VMSRS_TAG_BODY_FACTOR;
  mix ^= mix >> 31;
  return (mix * VMSRS_TAG_GRANULE_FACTOR & ~0xffffffffull) | note;
}

std::uint64_t bytes_of(const BlockHead& head) { return head.size & kMostBytes; }
std::uint64_t offset_of(const BlockHead& head) { return (head.size >> kOffsetShift) * 16; }

BlockHead read_head(const void* memory) {
  BlockHead head;
  vmsrs_load_range(&head, static_cast<const std::byte*>(memory) - kHeadBytes, kHeadBytes);
  return head;
}
void write_head(void* memory, const BlockHead& head) {
  vmsrs_store_range(static_cast<std::byte*>(memory) - kHeadBytes, &head, kHeadBytes);
}

vmsrs_heap* heap_at(const void* memory) {
  for (vmsrs_heap* const heap : control().heaps) {
    if (heap == nullptr) continue;
    const std::uint64_t at = to_register(memory) - to_register(heap->begin);
    if (at < std::uint64_t{heap->buddy.units()} * kUnit) return heap;
  }
  return nullptr;
}

std::uint64_t pack(Block block) { return std::uint64_t{block.note} << 32 | block.first; }
Block unpack(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
}

// Of this use of the block: somebody else's end may have given it back meanwhile.
void give_back(std::uint64_t heap_word, Block block) {
  for (vmsrs_heap* const heap : control().heaps) {
    if (heap == nullptr || to_register(heap) != heap_word) continue;
    const Locked locked(*heap);
    if (heap->buddy.is_taken(block.first) && heap->buddy.note(block.first) == block.note)
      heap->buddy.give_back(block.first);
  }
}

void settle_taken(Ending ending, std::uint64_t heap, std::uint64_t block) {
  if (ending == Ending::kTakenBack) give_back(heap, unpack(block));
}
void settle_freed(Ending ending, std::uint64_t heap, std::uint64_t block) {
  quarantined.fetch_sub(1, std::memory_order_relaxed);
  if (ending == Ending::kFinished) give_back(heap, unpack(block));
}

Block take(vmsrs_heap& heap, std::uint32_t units) {
  const Locked locked(heap);
  const std::uint32_t first = heap.buddy.take(units);
  if (first == Buddy::kNone) return {};
  if (++heap.last_note == 0) ++heap.last_note;
  heap.buddy.set_note(first, heap.last_note);
  return {first, heap.last_note};
}

// The bytes from the block's begin to its user's, with the head right before these.
std::uint64_t offset_for(const std::byte* block, std::size_t alignment) {
  if (alignment <= kHeadBytes) return kHeadBytes;
  const std::uint64_t least = to_register(block) + kHeadBytes;
  return ((least + alignment - 1) & ~std::uint64_t{alignment - 1}) - to_register(block);
}

void* allocate(vmsrs_heap* heap, std::size_t bytes, std::size_t alignment) {
  if (heap == nullptr) {
    errno = ENOMEM;
    fail(VMSRS_ERROR_STATE, "vmsrs_malloc: there is no heap: vmsrs_heap_create makes one");
    return nullptr;
  }
  if (alignment > kHeadBytes) alignment = std::max(alignment, kUnit);  // heads lie at few places
  const std::size_t most = kHeadBytes + (alignment > kHeadBytes ? alignment : 0);
  const std::uint64_t units = (std::uint64_t{bytes} + most + kUnit - 1) / kUnit;
  Block block;
  if (bytes <= kMostBytes && alignment <= kMostAlignment && units <= heap->buddy.units())
    block = take(*heap, static_cast<std::uint32_t>(units));
  const Effect taken = {settle_taken, to_register(heap), pack(block)};
  const bool noted = block.first != Buddy::kNone && (!scope_is_open() || add_effect(taken));
  if (!noted) {
    if (block.first != Buddy::kNone) give_back(to_register(heap), block);
    errno = ENOMEM;
    return nullptr;
  }
  std::byte* const at = heap->begin + block.first * kUnit;
  const std::uint64_t offset = offset_for(at, alignment);
  const std::uint64_t size = bytes | offset / 16 << kOffsetShift;
  write_head(at + offset, {identity_of(block.first, block.note, size), size});
  return at + offset;
}

enum class Found {
  kBlock,
  kNothing,  // not the begin of a block: the user's error
  kFreed,
  kDamaged  // its head is not what was put there
};

Found find(const vmsrs_heap& heap, const void* memory, Block& block, BlockHead& head) {
  const auto* const at = static_cast<const std::byte*>(memory);
  const std::uint64_t from = to_register(at) - to_register(heap.begin);
  if (from < kHeadBytes || from % 16 != 0) return Found::kNothing;
  {
    const Locked locked(const_cast<vmsrs_heap&>(heap));
    block.first = heap.buddy.block_of(static_cast<std::uint32_t>((from - kHeadBytes) / kUnit));
    if (block.first == Buddy::kNone) return Found::kNothing;
    block.note = heap.buddy.note(block.first);
  }
  head = read_head(memory);
  if (head.identity == 0) return Found::kFreed;
  if (static_cast<std::uint32_t>(head.identity) != block.note) return Found::kNothing;
  if (head.identity != identity_of(block.first, block.note, head.size)) return Found::kDamaged;
  return from == block.first * kUnit + offset_of(head) ? Found::kBlock : Found::kNothing;
}

// The block of a user that has not crashed, or nothing: then the user has, by now.
bool find_or_report(const char* function, void* memory, vmsrs_heap*& heap, Block& block,
                    BlockHead& head) {
  heap = heap_at(memory);
  const char* why = "not in a heap, or not the begin of what was allocated";
  switch (heap != nullptr ? find(*heap, memory, block, head) : Found::kNothing) {
    case Found::kBlock:
      return true;
    case Found::kNothing:
      break;
    case Found::kFreed:
      why = "it is freed already";
      break;
    case Found::kDamaged:
      why = "the words before it were written over";
      break;
  }
  report_misuse(function, memory, why);
  return false;
}

void release(const char* function, void* memory) {
  if (memory == nullptr || (scope_is_open() && user_is_crashed())) return;
  vmsrs_heap* heap;
  Block block;
  BlockHead head;
  if (!find_or_report(function, memory, heap, block, head)) return;
  const Effect freed = {settle_freed, to_register(heap), pack(block)};
  const bool waits = scope_is_open();
  if (waits && !add_effect(freed))  // it stays taken: room is lost, nothing else
    return (void)fail(VMSRS_ERROR_SYSTEM, "%s: no memory to note it", function);
  if (waits) quarantined.fetch_add(1, std::memory_order_relaxed);
  vmsrs_store_u64(reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(memory) - kHeadBytes),
                  0);
  if (!waits) give_back(to_register(heap), block);
}

void* reallocate(vmsrs_heap* of_nothing, void* memory, std::size_t bytes) {
  if (memory == nullptr) return allocate(of_nothing, bytes, 1);
  vmsrs_heap* heap;
  Block block;
  BlockHead head{};
  if (scope_is_open() && user_is_crashed()) return memory;
  if (!find_or_report("vmsrs_realloc", memory, heap, block, head)) return memory;
  const std::uint64_t offset = offset_of(head);
  std::uint64_t room;
  {
    const Locked locked(*heap);
    room = heap->buddy.units_of(block.first) * kUnit - offset;
  }
  if (bytes <= room && bytes >= room / 2) {
    const std::uint64_t size = bytes | offset / 16 << kOffsetShift;
    write_head(memory, {identity_of(block.first, block.note, size), size});
    return memory;
  }
  void* const moved = allocate(heap, bytes, 1);
  if (moved == nullptr) return nullptr;
  vmsrs_assign(moved, memory, std::min<std::size_t>(bytes, bytes_of(head)));
  release("vmsrs_realloc", memory);
  return moved;
}

// ---- A region's blocks as its last process had committed them

// Is there a head at these bytes of the heap, of which block and how large?
bool head_at(const vmsrs_heap& heap, std::uint64_t at, Block& block, std::uint32_t& units) {
  BlockHead head;
  std::memcpy(&head, heap.begin + at, sizeof head);
  const std::uint64_t offset = offset_of(head);
  if (head.identity == 0 || offset < kHeadBytes || at + kHeadBytes < offset) return false;
  const std::uint64_t begin = at + kHeadBytes - offset;
  if (begin % kUnit != 0) return false;
  block = {static_cast<std::uint32_t>(begin / kUnit), static_cast<std::uint32_t>(head.identity)};
  const std::uint64_t wanted = (bytes_of(head) + offset + kUnit - 1) / kUnit;
  if (wanted > heap.buddy.units() - block.first) return false;
  units = static_cast<std::uint32_t>(wanted);
  return block.note != 0 && head.identity == identity_of(block.first, block.note, head.size);
}

void find_kept(vmsrs_heap& heap) {
  constexpr std::uint64_t kPlaces[] = {0, kUnit - kHeadBytes};  // of a head, in a unit
  for (std::uint32_t unit = 0; unit < heap.buddy.units();) {
    std::uint32_t next = unit + 1;
    for (const std::uint64_t place : kPlaces) {
      Block block;
      std::uint32_t units = 0;
      if (!head_at(heap, std::uint64_t{unit} * kUnit + place, block, units)) continue;
      if (!heap.buddy.take_at(block.first, units)) continue;
      heap.buddy.set_note(block.first, block.note);
      heap.last_note = std::max(heap.last_note, block.note);
      next = std::max(next, block.first + heap.buddy.units_of(block.first));
    }
    unit = next;
  }
}

// ---- Heaps

bool add_heap(vmsrs_heap* heap) {
  if (!unlock_control()) return false;
  bool added = false;
  for (vmsrs_heap*& place : control_page.block.heaps) {
    if (place != nullptr) continue;
    __atomic_store_n(&place, heap, __ATOMIC_RELEASE);
    added = true;
    break;
  }
  return lock_control() && added;
}

bool remove_heap(const vmsrs_heap* heap) {
  if (!unlock_control()) return false;
  for (vmsrs_heap*& place : control_page.block.heaps)
    if (place == heap) place = nullptr;
  return lock_control();
}

vmsrs_heap* make_heap(std::byte* begin, std::uint32_t units) {
  const std::size_t head = (sizeof(vmsrs_heap) + 63) & ~std::size_t{63};
  const std::size_t bytes = head + Buddy::bytes_for(units);
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail(VMSRS_ERROR_SYSTEM, "vmsrs_heap_create: mmap of %zu bytes: %s", bytes,
         strerrordesc_np(errno));
    return nullptr;
  }
  auto* const heap =
      new (memory) vmsrs_heap{begin, Buddy(static_cast<std::byte*>(memory) + head, units),
                              PTHREAD_MUTEX_INITIALIZER, 0, bytes};
  return heap;
}

vmsrs_heap* default_heap() { return control().heaps[0]; }

bool overlaps_another(const std::byte* begin, std::size_t bytes) {
  for (const vmsrs_heap* const heap : control().heaps)
    if (heap != nullptr && begin < heap->begin + std::size_t{heap->buddy.units()} * kUnit &&
        heap->begin < begin + bytes)
      return true;
  return false;
}

// Whose frees may still be waiting. Where each store is a call, users of other processes count too.
bool any_user() {
  const vmsrs_window* const window = attached_window();
  if (control().areas != nullptr || window == nullptr) return any_open_scope();
  for (const std::uint64_t& word : window->users)
    if ((__atomic_load_n(&word, __ATOMIC_ACQUIRE) & 3) != VMSRS_USER_FREE) return true;
  return false;
}

}  // namespace

std::uint64_t quarantined_frees() { return quarantined.load(std::memory_order_relaxed); }

void forget_heaps() {
  for (vmsrs_heap* const heap : control().heaps)
    if (heap != nullptr && remove_heap(heap)) munmap(heap, heap->mapped_bytes);
  quarantined.store(0, std::memory_order_relaxed);
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

vmsrs_heap* vmsrs_heap_create(void* memory, size_t bytes, bool kept) {
  const auto at = to_register(memory);
  const char* why = nullptr;
  if (attached_window() == nullptr)
    why = "this process is not attached";
  else if (at % kUnit != 0 || bytes < kUnit || bytes % kUnit != 0)
    why = "begin and size must be multiples of 64, and not zero";
  else if (bytes / kUnit >= Buddy::kNone)
    why = "larger than 256 GiB";
  else if (control().areas != nullptr && claimed_region_at(at, bytes) == nullptr)
    why = "not wholly in a profiled region";
  else if (overlaps_another(static_cast<std::byte*>(memory), bytes))
    why = "another heap has part of it";
  if (why != nullptr) {
    fail(VMSRS_ERROR_ARGUMENT, "vmsrs_heap_create: %p, %zu bytes: %s", memory, bytes, why);
    return nullptr;
  }
  vmsrs_heap* const heap =
      make_heap(static_cast<std::byte*>(memory), static_cast<std::uint32_t>(bytes / kUnit));
  if (heap == nullptr) return nullptr;
  if (kept) find_kept(*heap);
  if (add_heap(heap)) return heap;
  munmap(heap, heap->mapped_bytes);
  fail(VMSRS_ERROR_STATE, "vmsrs_heap_create: this process has as many heaps as it may have");
  return nullptr;
}

int vmsrs_heap_destroy(vmsrs_heap* heap) {
  if (any_user()) return fail_status("vmsrs_heap_destroy", VMSRS_BUSY);
  for (const vmsrs_heap* const known : control().heaps)
    if (heap != nullptr && known == heap) {
      if (!remove_heap(heap)) return fail(VMSRS_ERROR_SYSTEM, "vmsrs_heap_destroy: mprotect");
      munmap(heap, heap->mapped_bytes);
      return 0;
    }
  return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_heap_destroy: %p is no heap", static_cast<void*>(heap));
}

size_t vmsrs_heap_free_bytes(vmsrs_heap* heap) {
  const Locked locked(*heap);
  return heap->buddy.free_units() * kUnit;
}

void* vmsrs_heap_alloc(vmsrs_heap* heap, size_t bytes, size_t alignment) {
  if (alignment != 0 && !std::has_single_bit(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return allocate(heap, bytes, alignment);
}

void* vmsrs_malloc(size_t bytes) { return allocate(default_heap(), bytes, 1); }

void* vmsrs_calloc(size_t count, size_t bytes) {
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* const memory = allocate(default_heap(), all, 1);
  if (memory != nullptr && all > 0) vmsrs_fill_range(memory, 0, all);
  return memory;
}

void* vmsrs_realloc(void* memory, size_t bytes) {
  return reallocate(default_heap(), memory, bytes);
}

void vmsrs_free(void* memory) { release("vmsrs_free", memory); }

int vmsrs_posix_memalign(void** memory, size_t alignment, size_t bytes) {
  if (alignment < sizeof(void*) || !std::has_single_bit(alignment)) return EINVAL;
  void* const at = allocate(default_heap(), bytes, alignment);
  if (at == nullptr) return ENOMEM;
  *memory = at;
  return 0;
}

size_t vmsrs_malloc_size(const void* memory) {
  vmsrs_heap* const heap = memory != nullptr ? heap_at(memory) : nullptr;
  Block block;
  BlockHead head;
  return heap != nullptr && find(*heap, memory, block, head) == Found::kBlock ? bytes_of(head) : 0;
}

// ---- Class 4: pointers

vmsrs_pointer vmsrs_pointer_to(void* object, size_t bytes) {
  return {static_cast<char*>(object), static_cast<char*>(object),
          static_cast<char*>(object) + bytes, 0};
}

vmsrs_pointer vmsrs_pointer_of(void* memory) {
  vmsrs_heap* const heap = memory != nullptr ? heap_at(memory) : nullptr;
  Block block;
  BlockHead head;
  if (heap == nullptr || find(*heap, memory, block, head) != Found::kBlock)
    return vmsrs_pointer_to(memory, 0);
  vmsrs_pointer pointer = vmsrs_pointer_to(memory, bytes_of(head));
  pointer.life = head.identity;
  return pointer;
}

void* vmsrs_pointer_check(vmsrs_pointer pointer, size_t bytes) {
  const char* const at = pointer.at;
  const char* why = nullptr;
  if (at < pointer.begin || at > pointer.end || static_cast<size_t>(pointer.end - at) < bytes)
    why = "outside of its object";
  else if (pointer.life != 0 && vmsrs_load_u64(reinterpret_cast<const std::uint64_t*>(
                                    pointer.begin - kHeadBytes)) != pointer.life)
    why = "its object is freed";
  if (why == nullptr) return pointer.at;
  report_misuse("vmsrs_pointer_check", at, why);
  return pointer.begin;
}
