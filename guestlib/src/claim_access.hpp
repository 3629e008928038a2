// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vmsrs/fast.hpp>

#include "call.hpp"
#include "protection_key.hpp"

// Loads and stores in a region with claims, whole: the protocol's STORE and LOAD (docs/protocol.md)
// with their traps. Calls is how a thread reaches the engine:
//   CallResult store(address, bytes, count, ticket, write_set_full)   T_STORE, within one granule
//   CallResult store_if(address, value, expected, count, ticket, write_set_full)
//                                                      the same of a word, if it is what is
//                                                      expected
//   CallResult load(address, count)                    T_LOAD, at most 8 bytes
//   CallResult load_committed(from, to, count)                         of a region's live bytes
//   bool drain(slot)            every window of the slot (or of all) has been closed once since;
//                               false: not within the bound, its user is stuck now
//   void wait(slot, attempt)    a little, for that user; past the bound it is stuck
//   bool came_out(slot, epoch)  a stuck user is found outside of stores, and the engine knows
namespace vmsrs::guest {

using hooks::hole, hooks::step, hooks::Step;

enum class Access {
  kDone,
  kCrashed,  // the calling user is crashed: a store did nothing, a load's value is any
  kRefused,  // the engine's status says why
};

// What was handed over: bytes, and vmsrs_handed_over_sum of them.
struct HandedOver {
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
};

template <typename Calls>
class ClaimAccess {
 public:
  ClaimAccess(fast::Thread& thread, const vmsrs_window& window, std::uint64_t area_bytes,
              Calls& calls)
      : thread_(thread), window_(window), area_bytes_(area_bytes), calls_(calls) {}

  // `count` bytes that lie in one granule. Needs a user of the thread's.
  Access store(const fast::Region& region, std::uint64_t to, const void* from, std::size_t count) {
    return store_by(
        region, to, count, [&] { put(to, from, count); },
        [&](std::uint64_t ticket, bool write_set_full) {
          return calls_.store(to, from, count, ticket, write_set_full);
        },
        Always{});
  }

  // An aligned word, at most 8 bytes: becomes `desired` if it is `seen`; else `seen` becomes what
  // it is, and `equal` false. Within a store of its owner nobody else stores.
  Access store_if(const fast::Region& region, std::uint64_t word, std::uint64_t& seen,
                  std::uint64_t desired, std::size_t count, bool& equal) {
    std::uint64_t found = 0;
    const Access outcome = store_by(
        region, word, count, [&] { put(word, &desired, count); },
        [&](std::uint64_t ticket, bool write_set_full) {
          const CallResult result =
              calls_.store_if(word, desired, seen, count, ticket, write_set_full);
          if (result.status == VMSRS_OK) found = result.first == 0 ? seen : result.second;
          return result;
        },
        [&] {
          found = get(word, count);
          return found == seen;
        });
    equal = found == seen;
    seen = found;
    return outcome;
  }

  // For a store that the program itself makes after this: its granules become the user's, its bytes
  // are masked, and the hook window stays open; a strict region takes plain stores of the thread as
  // long as it does. False: it must be made by store().
  bool reserve(const fast::Region& region, std::uint64_t to, std::size_t count) {
    vmsrs_user_area& area = *thread_.area;
    bool asked = false;
    allow_stores(region.key);
    for (unsigned attempt = 0; attempt < kReservations; ++attempt) {
      fast::open_hook_window(area);
      const std::uint64_t mode = fast::mode_of(thread_);
      Own own = Own::kLost;
      if (mode == thread_.seen_any)
        own = make_all_own(region, to, count);
      else if (!note_mode(mode))
        break;
      if (own == Own::kWas) return true;
      if (own == Own::kNot && !asked) {
        fast::close_hook_window(area);
        free_left_over(region, to, count);
        asked = true;
        continue;
      }
      if (own != Own::kLost) break;
    }
    fast::close_hook_window(area);
    forbid_stores(region.key);
    return false;
  }

  // One attempt at an aligned word. False: it was not stored, for whatever reason.
  template <typename T>
  bool try_store_word(const fast::Region& region, T* to, T value) {
    const std::uint64_t at = reinterpret_cast<std::uint64_t>(to) - region.begin;
    bool write_set_full = false;
    return try_store(region, at >> region.shift, at & region.within, sizeof(T), write_set_full,
                     [&] { fast::plain_store(to, value); }) == Outcome::kDone;
  }

 private:
  // put() makes the store in line, trap(ticket, write_set_full) by a call.
  template <typename Put, typename Trap, typename Wanted>
  Access store_by(const fast::Region& region, std::uint64_t to, std::size_t count, Put put_in_line,
                  Trap trap, Wanted wanted) {
    const std::uint64_t granule = (to - region.begin) >> region.shift;
    std::uint64_t ticket = 0;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      bool write_set_full = false;
      switch (try_store(region, granule, (to - region.begin) & region.within, count, write_set_full,
                        put_in_line, wanted)) {
        case Outcome::kDone:
          return Access::kDone;
        case Outcome::kCrashed:  // the engine drops it too, and counts it
          break;
        case Outcome::kAgain:
          continue;
        case Outcome::kTrap:
          break;
      }
      const CallResult result = trap(ticket, write_set_full);
      ticket = 0;
      switch (result.status) {
        case VMSRS_OK:
          return Access::kDone;
        case VMSRS_CRASHED:
          return Access::kCrashed;
        case VMSRS_REPEAT:
          break;
        case VMSRS_WAIT:
          calls_.wait(result.first, attempt);
          break;
        case VMSRS_DRAIN:
          if (calls_.drain(result.first)) ticket = result.second;
          break;
        case VMSRS_OWNER_STUCK:
          if (calls_.came_out(result.first, result.second)) break;
          [[fallthrough]];
        default:
          status_ = result.status;
          return Access::kRefused;
      }
    }
    status_ = VMSRS_AGAIN;
    return Access::kRefused;
  }

 public:
  // `count` bytes, at most 8, that lie in one granule.
  Access load(const fast::Region& region, std::uint64_t from, std::uint64_t& value,
              std::size_t count) {
    const std::uint64_t granule = (from - region.begin) >> region.shift;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      switch (try_load(region, granule, from, value, count)) {
        case Outcome::kDone:
          return Access::kDone;
        case Outcome::kCrashed:
          return Access::kCrashed;
        case Outcome::kAgain:
          continue;
        case Outcome::kTrap:
          break;
      }
      const CallResult result = calls_.load(from, count);
      if (result.status == VMSRS_REPEAT) continue;
      value = result.first;
      if (result.status == VMSRS_OK) return Access::kDone;
      status_ = result.status;
      return result.status == VMSRS_CRASHED ? Access::kCrashed : Access::kRefused;
    }
    status_ = VMSRS_AGAIN;
    return Access::kRefused;
  }

  // Committed values of bytes that lie in any number of granules. From the first granule on that is
  // not plainly nobody's the engine gives them, all of one instant.
  Access load_committed(const fast::Region& region, std::uint64_t from, void* to,
                        std::size_t count) {
    if (crashed_at(fast::mode_of(thread_))) return Access::kCrashed;
    auto* target = static_cast<std::byte*>(to);
    while (count > 0) {
      const std::size_t now = word_at(region, from, count);
      std::uint64_t value = 0;
      if (!try_committed(region, from, value, now)) break;
      std::memcpy(target, &value, now);
      target += now;
      from += now;
      count -= now;
    }
    if (count == 0) return Access::kDone;
    status_ = calls_.load_committed(from, target, count).status;
    if (status_ == VMSRS_OK) return Access::kDone;
    return status_ == VMSRS_CRASHED ? Access::kCrashed : Access::kRefused;
  }

  std::uint64_t status() const { return status_; }

  // END: puts what the user wrote where the engine can have it without looking (vmsrs_written).
  // Until its next user begins the thread claims nothing. `region_of(number)` gives a fast::Region
  // or nullptr. False: there is no room for all of it, or a word is damaged; the engine must look.
  template <typename RegionOf>
  bool hand_over(std::byte* to, std::size_t room, RegionOf region_of, HandedOver& handed_over) {
    const std::uint64_t own = std::exchange(thread_.own, 0);
    const std::uint64_t own_check = std::exchange(thread_.own_check, 0);
    fast::barrier();
    const std::uint64_t count = thread_.set.count;
    if (count > capacity()) return false;
    const auto* const entries = reinterpret_cast<const std::uint64_t*>(thread_.area + 1);
    auto* const words = reinterpret_cast<std::uint64_t*>(to);
    std::size_t used = 0;  // words
    std::uint64_t sum = own;
    const auto put_over = [&](std::uint64_t word) {
      words[used++] = word;
      sum = vmsrs_handed_over_sum(sum, word);
    };
    const fast::Region* region = nullptr;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t entry = __atomic_load_n(&entries[i], __ATOMIC_RELAXED);
      const std::uint64_t number = entry >> 32 & 0xff;
      const std::uint64_t granule = entry & 0xffffffffu;
      if (region == nullptr || region->number != number) region = region_of(number);
      if (region == nullptr || granule >= region->bytes >> region->shift) return false;
      if ((used + kMostWordsOver) * sizeof(std::uint64_t) > room) return false;
      const std::uint64_t bytes = region->within + 1;
      const vmsrs_claim& claim = region->claims[granule];
      step(Step::END_tag);
      const bool mine =
          __atomic_load_n(&claim.tag, __ATOMIC_RELAXED) == vmsrs_tag_of(own, own_check, granule);
      step(Step::END_mask);
      const std::uint64_t mask =
          mine ? __atomic_load_n(&claim.mask, __ATOMIC_RELAXED) & fast::mask_of(0, bytes) : 0;
      put_over(entry);
      put_over(mask);
      const std::uint64_t from = region->begin + (granule << region->shift);
      step(Step::END_data);
      for (std::uint64_t of = vmsrs_written_words(mask); of != 0; of &= of - 1)
        put_over(fast::plain_load(reinterpret_cast<const std::uint64_t*>(
            from + static_cast<unsigned>(__builtin_ctzll(of)))));
    }
    step(Step::END_call);
    handed_over = {used * sizeof(std::uint64_t), sum};
    return true;
  }

  // The thread takes note of the mode (seen). False: its user is crashed, and it never does.
  bool note_mode(std::uint64_t mode) {
    const bool crashed = crashed_at(mode);
    if (crashed && !hole(13)) return false;
    thread_.seen_any = mode;
    const bool normal = (mode & VMSRS_MODE_SUPPRESSION) == 0;
    thread_.seen = normal && thread_.sampled == 0 ? mode : fast::kNever;
    return !crashed;
  }

  bool crashed_at(std::uint64_t mode) const {
    if (thread_.own == 0) return false;
    const std::uint64_t slot = vmsrs_tag_slot(thread_.own);
    return vmsrs_tag_generation(thread_.own) == fast::current_generation(window_, slot) &&
           fast::counts_as_crashed(window_, slot, mode);
  }

 private:
  enum class Outcome { kDone, kCrashed, kAgain, kTrap };
  // Each repetition means that somebody else got further; this many in a row are a defect.
  static constexpr unsigned kAttempts = 1u << 20;
  static constexpr unsigned kReservations = 64;
  // Of one granule, when it is handed over.
  static constexpr std::size_t kMostWordsOver = sizeof(vmsrs_written) / 8 + 64 / 8;

  bool over(std::uint64_t tag) const { return fast::is_over(thread_, window_, tag); }

  // A store that depends on nothing.
  struct Always {};

  // S_open to S_close, or to S_trap. put() makes the store, if wanted() says so once the granule is
  // the user's: otherwise the mask, too, stays as it is.
  template <typename Put, typename Wanted = Always>
  Outcome try_store(const fast::Region& region, std::uint64_t granule, std::uint64_t first,
                    std::size_t count, bool& write_set_full, Put put, Wanted wanted = {}) {
    constexpr bool kAlways = std::is_same_v<Wanted, Always>;
    vmsrs_user_area& area = *thread_.area;
    fast::open_window(area);
    step(Step::S_mode);
    const std::uint64_t mode = fast::mode_of(thread_);
    if (mode != thread_.seen_any && !hole(32)) [[unlikely]] {
      fast::close_window(area);
      step(Step::S_crashed);
      return note_mode(mode) ? Outcome::kAgain : Outcome::kCrashed;
    }
    const StoresAllowed allowed(region.key);
    const std::uint64_t bits =
        hole(7) ? fast::mask_of(0, region.within + 1) : fast::mask_of(first, count);
    const Own own = make_own(region, granule, kAlways ? bits : 0);
    write_set_full = own == Own::kWriteSetFull;
    switch (own) {
      case Own::kWas:
      case Own::kBecame:
        break;
      case Own::kNot:
      case Own::kWriteSetFull:
        if (!hole(28)) fast::close_window(area);
        return Outcome::kTrap;
      case Own::kLost:
        fast::close_window(area);
        return Outcome::kAgain;
    }
    if constexpr (!kAlways) {
      if (!wanted()) {
        fast::close_window(area);
        return Outcome::kDone;
      }
      fast::set_mask(region, granule, bits, thread_.set);
    }
    put();
    if (hole(6) && own == Own::kBecame) append(entry_of(region, granule) | VMSRS_ENTRY_CONFIRMED);
    fast::close_window(area);
    return Outcome::kDone;
  }

  enum class Own {
    kWas,
    kBecame,
    kNot,  // it is somebody's
    kWriteSetFull,
    kLost,  // somebody was quicker
  };

  // S_tag to S_confirm, in the window: the granule is the user's and these bits of it are masked.
  Own make_own(const fast::Region& region, std::uint64_t granule, std::uint64_t bits) {
    vmsrs_claim& claim = region.claims[granule];
    step(Step::S_tag);
    const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
    if (tag == vmsrs_tag_of(thread_.own, thread_.own_check, granule)) {
      if (bits != 0) fast::set_mask(region, granule, bits, thread_.set);
      return Own::kWas;
    }
    step(Step::S_over);
    const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
    const bool free = (kind == VMSRS_TAG_OWN && over(tag)) || kind == VMSRS_TAG_UNOWNED;
    if (!free) [[unlikely]]
      return Own::kNot;
    if (thread_.set.count >= capacity()) [[unlikely]]
      return Own::kWriteSetFull;
    if (!claim_granule(region, granule, claim, tag, bits)) [[unlikely]]
      return Own::kLost;
    thread_.set.masked += vmsrs_masked_sum(region.number, granule, bits);
    return Own::kBecame;
  }

  // kWas: all of them are.
  Own make_all_own(const fast::Region& region, std::uint64_t to, std::size_t count) {
    const std::uint64_t size = region.within + 1;
    for (std::uint64_t at = to - region.begin, end = at + count; at < end;) {
      const std::uint64_t first = at & region.within;
      const std::uint64_t now = std::min(size - first, end - at);
      const Own own = make_own(region, at >> region.shift, fast::mask_of(first, now));
      if (own != Own::kWas && own != Own::kBecame) return own;
      at += now;
    }
    return Own::kWas;
  }

  // A granule stays CONTENDED when its last record has gone: who loads from it next has it freed.
  void free_left_over(const fast::Region& region, std::uint64_t to, std::size_t count) {
    const std::uint64_t size = region.within + 1;
    const std::uint64_t last = (to + count - 1 - region.begin) >> region.shift;
    for (std::uint64_t granule = (to - region.begin) >> region.shift; granule <= last; ++granule) {
      const std::uint64_t tag = __atomic_load_n(&region.claims[granule].tag, __ATOMIC_ACQUIRE);
      if (vmsrs_tag_kind_of(tag, granule) == VMSRS_TAG_CONTENDED)
        calls_.load(region.begin + (granule << region.shift), std::min<std::uint64_t>(size, 8));
    }
  }

  // S_append, S_claim, S_confirm
  bool claim_granule(const fast::Region& region, std::uint64_t granule, vmsrs_claim& claim,
                     std::uint64_t tag, std::uint64_t bits) {
    const std::uint64_t entry = entry_of(region, granule);
    if (!hole(6)) append(entry);
    const std::uint64_t mask = __atomic_load_n(&claim.mask, __ATOMIC_RELAXED);
    const std::uint64_t left = hole(11) ? mask : 0;  // what the last owner had there
    step(Step::S_claim);
    if (!fast::claim(claim, {tag, mask},
                     {vmsrs_tag_of(thread_.own, thread_.own_check, granule), bits | left}))
      return false;
    step(Step::S_confirm);
    if (!hole(6))
      __atomic_store_n(&entries()[thread_.set.count - 1], entry | VMSRS_ENTRY_CONFIRMED,
                       __ATOMIC_RELEASE);
    return true;
  }

  // The last entry of the write set is the granule's, put there now or by an attempt that lost.
  void append(std::uint64_t entry) {
    const std::uint64_t count = thread_.set.count;
    if (count > 0 && __atomic_load_n(&entries()[count - 1], __ATOMIC_ACQUIRE) == entry) return;
    step(Step::S_append);
    __atomic_store_n(&entries()[count], entry, __ATOMIC_RELEASE);
    thread_.set.sum = vmsrs_write_set_sum(thread_.set.sum, entry);
    thread_.set.count = count + 1;
    __atomic_store_n(&thread_.area->count, count + 1, __ATOMIC_RELEASE);
  }

  std::uint64_t entry_of(const fast::Region& region, std::uint64_t granule) const {
    return vmsrs_entry(region.number, granule, vmsrs_tag_generation(thread_.own));
  }
  std::uint64_t* entries() const { return reinterpret_cast<std::uint64_t*>(thread_.area + 1); }

  // L_data to L_mode_again
  Outcome try_load(const fast::Region& region, std::uint64_t granule, std::uint64_t from,
                   std::uint64_t& value, std::size_t count) {
    const std::uint64_t early_mode = hole(29) ? fast::mode_of(thread_) : 0;
    step(Step::L_data);
    value = get(from, count);
    fast::barrier();
    step(Step::L_mode);
    const std::uint64_t mode = hole(29) ? early_mode : fast::mode_of(thread_);
    if (mode == thread_.seen || (hole(2) && (mode & VMSRS_MODE_SUPPRESSION) == 0))
      return Outcome::kDone;
    step(Step::L_crashed);
    if (mode != thread_.seen_any) {
      if (!note_mode(mode)) return Outcome::kCrashed;
      if ((mode & VMSRS_MODE_SUPPRESSION) == 0) return Outcome::kAgain;
    }
    if (crashed_at(mode)) return Outcome::kCrashed;
    switch (fast::look(thread_, window_, region.claims[granule], granule, mode,
                       [&] { value = get(from, count); })) {
      case fast::Look::kSettled:
        return Outcome::kDone;
      case fast::Look::kAgain:
        return Outcome::kAgain;
      case fast::Look::kTrap:
        break;
    }
    return Outcome::kTrap;
  }

  // C_freed to C_freed_again. False: the engine must be asked.
  bool try_committed(const fast::Region& region, std::uint64_t from, std::uint64_t& value,
                     std::size_t count) const {
    const std::uint64_t granule = (from - region.begin) >> region.shift;
    const vmsrs_claim& claim = region.claims[granule];
    step(Step::C_freed);
    const std::uint64_t freed = __atomic_load_n(&window_.status.freed, __ATOMIC_ACQUIRE);
    if (hole(42)) value = get(from, count);
    step(Step::C_tag);
    const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
    const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
    step(Step::C_over);
    if (kind != VMSRS_TAG_UNOWNED && !(kind == VMSRS_TAG_OWN && over(tag))) return false;
    step(Step::C_data);
    if (!hole(42)) value = get(from, count);
    fast::barrier();
    step(Step::C_tag_again);
    if (__atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE) != tag && !hole(40)) return false;
    step(Step::C_freed_again);
    return __atomic_load_n(&window_.status.freed, __ATOMIC_ACQUIRE) == freed || hole(41);
  }

  std::uint64_t capacity() const {
    return (area_bytes_ - sizeof(vmsrs_user_area)) / sizeof(std::uint64_t);
  }

  // How many of these bytes are one load: within one granule, and a whole operation at any
  // alignment, else an aligned word.
  static std::size_t word_at(const fast::Region& region, std::uint64_t from, std::size_t count) {
    const std::uint64_t size = 1ull << region.shift;
    const std::uint64_t left = size - ((from - region.begin) & (size - 1));
    std::size_t word = 8;
    while (word > count || word > left || (word != count && from % word != 0)) word /= 2;
    return word;
  }

  // Aligned words are moved whole.
  static std::uint64_t get(std::uint64_t from, std::size_t count) {
    switch (count) {
      case 8:
        return fast::plain_load(reinterpret_cast<const std::uint64_t*>(from));
      case 4:
        return fast::plain_load(reinterpret_cast<const std::uint32_t*>(from));
      case 2:
        return fast::plain_load(reinterpret_cast<const std::uint16_t*>(from));
      default:
        break;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value |= std::uint64_t{fast::plain_load(reinterpret_cast<const std::uint8_t*>(from + i))}
               << 8 * i;
    return value;
  }
  static void put(std::uint64_t to, const void* source, std::size_t count) {
    const auto* from = static_cast<const std::uint8_t*>(source);
    while (count > 0) {
      std::size_t step = 8;  // words of a whole operation at any alignment, else aligned ones
      while (step > count || (step != count && to % step != 0)) step /= 2;
      put_word(to, from, step);
      to += step;
      from += step;
      count -= step;
    }
  }
  static void put_word(std::uint64_t to, const std::uint8_t* from, std::size_t bytes) {
    switch (bytes) {
      case 8:
        return put_as<std::uint64_t>(to, from);
      case 4:
        return put_as<std::uint32_t>(to, from);
      case 2:
        return put_as<std::uint16_t>(to, from);
      default:
        return put_as<std::uint8_t>(to, from);
    }
  }
  template <typename T>
  static void put_as(std::uint64_t to, const std::uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    step(Step::S_data);
    fast::plain_store(reinterpret_cast<T*>(to), value);
  }

  fast::Thread& thread_;
  const vmsrs_window& window_;
  std::uint64_t area_bytes_;
  Calls& calls_;
  std::uint64_t status_ = VMSRS_OK;
};

}  // namespace vmsrs::guest
