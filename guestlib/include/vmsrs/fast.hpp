// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <cstddef>
#include <cstdint>
#include <vmsrs/test_hooks.hpp>

// The part of a monitored load or store that needs no call: what <vmsrs/vmsrs.hpp> compiles into
// the program. Programs use vmsrs::load and vmsrs::store. The steps are those of docs/protocol.md.
namespace vmsrs::fast {

using hooks::hole, hooks::step, hooks::Step;

// A region whose claims are kept in this process.
struct Region {
  std::uint64_t begin;
  std::uint64_t bytes;  // 0: there is none
  vmsrs_claim* claims;
  std::uint64_t within;  // bits of an offset that lie within a granule: its size less one
  std::uint16_t shift;   // of a granule's size
  std::uint16_t key;     // that its pages carry (strict mode); 0: none
  std::uint32_t number;
};
inline Region make_region(std::uint64_t begin, std::uint64_t bytes, vmsrs_claim* claims,
                          std::uint32_t shift, std::uint32_t number) {
  return {begin, bytes, claims, (1ull << shift) - 1, static_cast<std::uint16_t>(shift), 0, number};
}

// What a thread keeps of its own user. Damage to it can harm that thread only.
struct Thread {
  const std::uint64_t*
      mode;                 // of the window; of a word that is always zero before its first access
  std::uint64_t seen;       // the last mode it took note of, if that was normal; else kNever
  std::uint64_t seen_any;   // the last mode it took note of
  std::uint64_t own;        // body of its user's tags; 0: no scope is open
  std::uint64_t own_check;  // own * VMSRS_TAG_BODY_FACTOR
  vmsrs_user_area* area;
  vmsrs_write_set set;    // of its user
  Region region;          // that its user last used; none outside of scopes, and for readers.
                          // Not a strict one: stores to those are the library's to make
  std::uint64_t reader;   // not 0: its user sees committed values only, and seen stays kNever
  std::uint64_t sampled;  // not 0: whom its user reads from is noted, and seen stays kNever
  Region strict;          // the strict one that its user last used; only the library looks at it
};
constexpr std::uint64_t kNever = 1;  // a mode that is never published: epoch 0, suppression

inline void barrier() { asm volatile("" : : : "memory"); }

template <typename T>
struct [[gnu::packed, gnu::may_alias]] Unaligned {
  T value;
};

// One load or store instruction, at any alignment.
template <typename T>
inline T plain_load(const T* from) {
#ifdef __SANITIZE_THREAD__
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof(T) == 0)
    return __atomic_load_n(from, __ATOMIC_RELAXED);
#endif
  return reinterpret_cast<const volatile Unaligned<T>*>(from)->value;
}
template <typename T>
inline void plain_store(T* to, T value) {
#ifdef __SANITIZE_THREAD__
  if (reinterpret_cast<std::uintptr_t>(to) % sizeof(T) == 0)
    return __atomic_store_n(to, value, __ATOMIC_RELAXED);
#endif
  reinterpret_cast<volatile Unaligned<T>*>(to)->value = value;
}

inline std::uint64_t mode_of(const Thread& thread) {
  return __atomic_load_n(thread.mode, __ATOMIC_ACQUIRE);
}

// L_data, L_mode: data first, then the whole mode word. False: data is no answer.
template <typename T>
inline bool load(const Thread& thread, const T* from, T& data) {
  step(Step::L_data);
  data = plain_load(from);
  barrier();
  step(Step::L_mode);
  return mode_of(thread) == thread.seen;
}

constexpr std::uint64_t mask_of(std::uint64_t first, std::uint64_t count) {
  return (count >= 64 ? ~0ull : (1ull << count) - 1) << first;
}

// S_mask: says that the user wrote these bytes, before it does.
inline void set_mask(const Region& region, std::uint64_t granule, std::uint64_t bits,
                     vmsrs_write_set& set) {
  vmsrs_claim& claim = region.claims[granule];
  step(Step::S_mask);
  const std::uint64_t mask = __atomic_load_n(&claim.mask, __ATOMIC_RELAXED);
  if ((mask & bits) == bits) return;
  set.masked += vmsrs_masked_sum(region.number, granule, bits & ~mask);
  __atomic_store_n(&claim.mask, mask | bits, __ATOMIC_RELEASE);
}
// The same for an aligned word at `first`; all that is looked at is its byte of the mask.
template <typename T>
inline void set_mask_of_word(const Region& region, std::uint64_t granule, std::uint64_t first,
                             vmsrs_write_set& set) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&region.claims[granule].mask);
  const std::uint64_t in_byte = sizeof(T) == 8 ? 0 : first % 8;
  const auto bits = static_cast<unsigned>(mask_of(0, sizeof(T)) << in_byte & 0xff);
  if ((__atomic_load_n(&bytes[first / 8], __ATOMIC_RELAXED) & bits) != bits) [[unlikely]]
    set_mask(region, granule, mask_of(first, sizeof(T)), set);
}

// S_claim: tag and mask in one step. False: one of them was no longer as seen.
#ifdef __SANITIZE_THREAD__  // which must see the exchange
[[gnu::target("cx16")]] inline bool claim(vmsrs_claim& claim, vmsrs_claim seen, vmsrs_claim mine) {
  __extension__ using Both = unsigned __int128;
  return __sync_bool_compare_and_swap(reinterpret_cast<Both*>(&claim),
                                      Both{seen.mask} << 64 | seen.tag,
                                      Both{mine.mask} << 64 | mine.tag);
}
#else
inline bool claim(vmsrs_claim& claim, vmsrs_claim seen, vmsrs_claim mine) {
  bool done;
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(done), "+m"(claim), "+a"(seen.tag), "+d"(seen.mask)
               : "b"(mine.tag), "c"(mine.mask)
               : "memory");
  return done;
}
#endif

inline void open_window(vmsrs_user_area& area) {
  step(Step::S_open);
  __atomic_store_n(&area.window, 1u, __ATOMIC_RELAXED);
  barrier();  // who looks at the window makes the processors agree first (membarrier)
}
inline void close_window(vmsrs_user_area& area) {
  step(Step::S_close);
  barrier();
  __atomic_store_n(&area.window, 0u, __ATOMIC_RELEASE);
}

// For a store that instrumented code makes after its hook has returned: to the next one of the same
// thread it stays open.
inline void close_hook_window(vmsrs_user_area& area) {
  barrier();
  __atomic_store_n(&area.hook_window, 0u, __ATOMIC_RELEASE);
}
inline void open_hook_window(vmsrs_user_area& area) {
  close_hook_window(area);  // the last store was made: let it be seen
  __atomic_store_n(&area.hook_window, 1u, __ATOMIC_RELAXED);
  barrier();
}
inline bool is_open(const std::uint64_t& window) {
  return __atomic_load_n(&window, __ATOMIC_ACQUIRE) == 1;
}

// An aligned word never reaches into another granule. `at`: its offset in the region.
template <typename T>
inline bool is_word_of(const Region& region, std::uint64_t at) {
  return at < region.bytes && at % sizeof(T) == 0;
}

// S_open to S_close for a granule that is the user's own already. False: nothing was done.
template <typename T>
inline bool store(Thread& thread, T* to, T value) {
  const Region& region = thread.region;
  const std::uint64_t at = reinterpret_cast<std::uint64_t>(to) - region.begin;
  if (!is_word_of<T>(region, at)) [[unlikely]]
    return false;
  const std::uint64_t granule = at >> region.shift;
  vmsrs_claim& claim = region.claims[granule];
  vmsrs_user_area& area = *thread.area;
  open_window(area);
  step(Step::S_mode);
  if (mode_of(thread) != thread.seen_any || __atomic_load_n(&claim.tag, __ATOMIC_RELAXED) !=
                                                vmsrs_tag_of(thread.own, thread.own_check, granule))
      [[unlikely]] {
    close_window(area);
    return false;
  }
  set_mask_of_word<T>(region, granule, at & region.within, thread.set);
  step(Step::S_data);
  plain_store(to, value);
  close_window(area);
  return true;
}

// Of the window: the generation that a slot is in, as tags have it.
inline std::uint64_t current_generation(const vmsrs_window& window, std::uint64_t slot) {
  return __atomic_load_n(&window.users[slot], __ATOMIC_ACQUIRE) >> 2 & VMSRS_TAG_GENERATION_MASK;
}
inline bool counts_as_crashed(const vmsrs_window& window, std::uint64_t slot, std::uint64_t mode) {
  const std::uint64_t epoch = __atomic_load_n(&window.crash_epochs[slot], __ATOMIC_ACQUIRE);
  return epoch != 0 && (epoch <= mode >> 1 || hole(3));
}
// Of an OWN tag. An earlier user of the thread's own slot is over: no need to fetch the line that
// the engine has written at its end.
inline bool is_over(const Thread& thread, const vmsrs_window& window, std::uint64_t tag) {
  const std::uint64_t slot = vmsrs_tag_slot(tag);
  if (thread.own != 0 && slot == vmsrs_tag_slot(thread.own))
    return vmsrs_tag_generation(tag) != vmsrs_tag_generation(thread.own);
  return vmsrs_tag_generation(tag) != current_generation(window, slot);
}

enum class Look {
  kSettled,  // what get() read is the answer
  kAgain,    // something moved meanwhile
  kTrap,     // the engine must be asked
};

// L_tag to L_mode_again, in a mode that the thread has taken note of. get() reads the data.
template <typename Get>
inline Look look(const Thread& thread, const vmsrs_window& window, const vmsrs_claim& claim,
                 std::uint64_t granule, std::uint64_t mode, Get get) {
  step(Step::L_tag);
  const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
  const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
  if (kind != VMSRS_TAG_UNOWNED && kind != VMSRS_TAG_OWN) return Look::kTrap;
  if (thread.sampled != 0 && kind == VMSRS_TAG_OWN && !is_over(thread, window, tag) &&
      tag != vmsrs_tag_of(thread.own, thread.own_check, granule))
    return Look::kTrap;  // the engine notes who wrote
  step(Step::L_data2);
  get();
  barrier();
  step(Step::L_over);
  if (kind == VMSRS_TAG_OWN && !is_over(thread, window, tag)) {
    step(Step::L_owner);
    if (counts_as_crashed(window, vmsrs_tag_slot(tag), mode)) return Look::kTrap;
  }
  step(Step::L_tag_again);
  if (__atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE) != tag && !hole(24)) return Look::kAgain;
  step(Step::L_mode_again);
  return mode_of(thread) == mode || hole(25) ? Look::kSettled : Look::kAgain;
}

// A load while somebody is suppressed, of an aligned word in the region that the thread's user last
// used. False: data is no answer.
template <typename T>
inline bool load_in_suppression(const Thread& thread, const T* from, T& data) {
  const Region& region = thread.region;
  const std::uint64_t at = reinterpret_cast<std::uint64_t>(from) - region.begin;
  const std::uint64_t mode = mode_of(thread);
  if (mode != thread.seen_any || !is_word_of<T>(region, at)) return false;
  // Once it has taken note of a mode, the thread looks at that of its window.
  const auto& window = *reinterpret_cast<const vmsrs_window*>(
      reinterpret_cast<const unsigned char*>(thread.mode) - offsetof(vmsrs_window, status.mode));
  const std::uint64_t granule = at >> region.shift;
  const vmsrs_claim& claim = region.claims[granule];
  step(Step::L_tag);
  const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
  if (tag != vmsrs_tag(VMSRS_TAG_UNOWNED, granule) &&
      tag != vmsrs_tag_of(thread.own, thread.own_check, granule)) [[unlikely]]
    return look(thread, window, claim, granule, mode, [&] { data = plain_load(from); }) ==
           Look::kSettled;
  step(Step::L_data2);
  data = plain_load(from);
  barrier();
  step(Step::L_tag_again);
  const bool stayed = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE) == tag;
  step(Step::L_mode_again);
  return stayed && mode_of(thread) == mode;
}

}  // namespace vmsrs::fast

// The calling thread's. Set up by the library at the thread's first access or scope.
extern "C" __thread vmsrs::fast::Thread vmsrs_fast_thread
    __attribute__((tls_model("initial-exec")));
