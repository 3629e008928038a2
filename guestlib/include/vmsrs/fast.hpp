// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <cstdint>

// The part of a monitored load or store that needs no call: what <vmsrs/vmsrs.hpp> compiles into
// the program. Programs use vmsrs::load and vmsrs::store. The steps are those of docs/protocol.md.
namespace vmsrs::fast {

// A region whose claims are kept in this process.
struct Region {
  std::uint64_t begin;
  std::uint64_t bytes;  // 0: there is none
  vmsrs_claim* claims;
  std::uint32_t shift;  // of a granule's size
  std::uint32_t number;
};

// What a thread keeps of its own user. Damage to it can harm that thread only.
struct Thread {
  const std::uint64_t*
      mode;                 // of the window; of a word that is always zero before its first access
  std::uint64_t seen;       // the last mode it took note of, if that was normal; else kNever
  std::uint64_t seen_any;   // the last mode it took note of
  std::uint64_t own;        // body of its user's tags; 0: no scope is open
  std::uint64_t own_check;  // own * VMSRS_TAG_BODY_FACTOR
  vmsrs_user_area* area;
  vmsrs_write_set set;   // of its user
  Region region;         // where its user last stored
  std::uint64_t reader;  // not 0: its user sees committed values only, and seen stays kNever
  std::uint64_t sampled;  // not 0: whom its user reads from is noted, and seen stays kNever
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
  data = plain_load(from);
  barrier();
  return mode_of(thread) == thread.seen;
}

constexpr std::uint64_t mask_of(std::uint64_t first, std::uint64_t count) {
  return (count >= 64 ? ~0ull : (1ull << count) - 1) << first;
}

// S_mask: says that the user wrote these bytes, before it does.
inline void set_mask(vmsrs_claim& claim, std::uint64_t bits, vmsrs_write_set& set) {
  const std::uint64_t mask = __atomic_load_n(&claim.mask, __ATOMIC_RELAXED);
  if ((mask & bits) == bits) return;
  set.masked += static_cast<std::uint64_t>(__builtin_popcountll(bits & ~mask));
  __atomic_store_n(&claim.mask, mask | bits, __ATOMIC_RELEASE);
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
  __atomic_store_n(&area.window, 1u, __ATOMIC_RELAXED);
  barrier();  // who looks at the window makes the processors agree first (membarrier)
}
inline void close_window(vmsrs_user_area& area) {
  barrier();
  __atomic_store_n(&area.window, 0u, __ATOMIC_RELEASE);
}

// S_open to S_close for a granule that is the user's own already. False: nothing was done.
template <typename T>
inline bool store(Thread& thread, T* to, T value) {
  const Region& region = thread.region;
  const std::uint64_t at = reinterpret_cast<std::uint64_t>(to) - region.begin;
  const std::uint64_t first = at & ((1ull << region.shift) - 1);
  if (at >= region.bytes || first + sizeof(T) > 1ull << region.shift) return false;
  const std::uint64_t granule = at >> region.shift;
  vmsrs_claim& claim = region.claims[granule];
  vmsrs_user_area& area = *thread.area;
  open_window(area);
  const bool mine =
      mode_of(thread) == thread.seen_any && __atomic_load_n(&claim.tag, __ATOMIC_RELAXED) ==
                                                vmsrs_tag_of(thread.own, thread.own_check, granule);
  if (mine) [[likely]] {
    set_mask(claim, mask_of(first, sizeof(T)), thread.set);
    plain_store(to, value);
  }
  close_window(area);
  return mine;
}

}  // namespace vmsrs::fast

// The calling thread's. Set up by the library at the thread's first access or scope.
extern "C" __thread vmsrs::fast::Thread vmsrs_fast_thread
    __attribute__((tls_model("initial-exec")));
