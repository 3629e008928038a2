// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vmsrs/fast.hpp>

#include "call.hpp"

// Loads and stores in a region with claims, whole: the protocol's STORE and LOAD (docs/protocol.md)
// with their traps. Calls is how a thread reaches the engine:
//   CallResult store(address, bytes, count, ticket, write_set_full)   T_STORE, within one granule
//   CallResult load(address, count)                                    T_LOAD, at most 8 bytes
//   CallResult load_committed(from, to, count)                         of a region's live bytes
//   bool drain(slot)            every window of the slot (or of all) has been closed once since;
//                               false: not within the bound, its user is stuck now
//   void wait(slot, attempt)    a little, for that user; past the bound it is stuck
//   bool came_out(slot, epoch)  a stuck user is found outside of stores, and the engine knows
namespace vmsrs::guest {

enum class Access {
  kDone,
  kCrashed,  // the calling user is crashed: a store did nothing, a load's value is any
  kRefused,  // the engine's status says why
};

template <typename Calls>
class ClaimAccess {
 public:
  ClaimAccess(fast::Thread& thread, const vmsrs_window& window, std::uint64_t area_bytes,
              Calls& calls)
      : thread_(thread), window_(window), area_bytes_(area_bytes), calls_(calls) {}

  // `count` bytes that lie in one granule. Needs a user of the thread's.
  Access store(const fast::Region& region, std::uint64_t to, const void* from, std::size_t count) {
    const std::uint64_t granule = (to - region.begin) >> region.shift;
    std::uint64_t ticket = 0;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      bool write_set_full = false;
      switch (try_store(region, granule, to, from, count, write_set_full)) {
        case Step::kDone:
          return Access::kDone;
        case Step::kCrashed:  // the engine drops it too, and counts it
          break;
        case Step::kAgain:
          continue;
        case Step::kTrap:
          break;
      }
      const CallResult result = calls_.store(to, from, count, ticket, write_set_full);
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

  // `count` bytes, at most 8, that lie in one granule.
  Access load(const fast::Region& region, std::uint64_t from, std::uint64_t& value,
              std::size_t count) {
    const std::uint64_t granule = (from - region.begin) >> region.shift;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      switch (try_load(region, granule, from, value, count)) {
        case Step::kDone:
          return Access::kDone;
        case Step::kCrashed:
          return Access::kCrashed;
        case Step::kAgain:
          continue;
        case Step::kTrap:
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

  // END: hands over what the user wrote (vmsrs_written), where there is room for all of it. Until
  // its next user begins the thread claims nothing. `region_of(number)` gives a fast::Region or
  // nullptr. False: the engine must look itself.
  template <typename RegionOf>
  bool hand_over(std::byte* to, std::size_t room, RegionOf region_of, std::uint64_t& mask_sum) {
    const std::uint64_t own = std::exchange(thread_.own, 0);
    const std::uint64_t own_check = std::exchange(thread_.own_check, 0);
    fast::barrier();
    const std::uint64_t count = thread_.set.count;
    constexpr std::size_t kLargestGranule = 64;
    if (count > capacity() || count * (sizeof(vmsrs_written) + kLargestGranule) > room)
      return false;
    const auto* const entries = reinterpret_cast<const std::uint64_t*>(thread_.area + 1);
    auto* const written = reinterpret_cast<vmsrs_written*>(to);
    std::size_t used = count * sizeof(vmsrs_written);
    const fast::Region* region = nullptr;
    mask_sum = own;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t entry = __atomic_load_n(&entries[i], __ATOMIC_RELAXED);
      const std::uint64_t number = entry >> 32 & 0xff;
      const std::uint64_t granule = entry & 0xffffffffu;
      if (region == nullptr || region->number != number) region = region_of(number);
      if (region == nullptr || granule >= region->bytes >> region->shift) return false;
      const std::size_t bytes = std::size_t{1} << region->shift;
      const vmsrs_claim& claim = region->claims[granule];
      const bool mine =
          __atomic_load_n(&claim.tag, __ATOMIC_RELAXED) == vmsrs_tag_of(own, own_check, granule);
      written[i] = {entry, mine ? __atomic_load_n(&claim.mask, __ATOMIC_RELAXED) : 0};
      mask_sum = vmsrs_mask_sum(mask_sum, written[i].mask);
      const auto* const from =
          reinterpret_cast<const std::uint64_t*>(region->begin + granule * bytes);
      for (std::size_t word = 0; word < bytes / 8; ++word)
        reinterpret_cast<std::uint64_t*>(to + used)[word] = fast::plain_load(from + word);
      used += bytes;
    }
    return true;
  }

  // The thread takes note of the mode (seen). False: its user is crashed, and it never does.
  bool note_mode(std::uint64_t mode) {
    if (crashed_at(mode)) return false;
    thread_.seen_any = mode;
    const bool normal = (mode & VMSRS_MODE_SUPPRESSION) == 0;
    thread_.seen = normal && thread_.sampled == 0 ? mode : fast::kNever;
    return true;
  }

  bool crashed_at(std::uint64_t mode) const {
    if (thread_.own == 0) return false;
    const std::uint64_t slot = vmsrs_tag_slot(thread_.own);
    return vmsrs_tag_generation(thread_.own) == current_generation(slot) &&
           counts_as_crashed(slot, mode);
  }

 private:
  enum class Step { kDone, kCrashed, kAgain, kTrap };
  // Each repetition means that somebody else got further; this many in a row are a defect.
  static constexpr unsigned kAttempts = 1u << 20;

  std::uint64_t current_generation(std::uint64_t slot) const {
    return __atomic_load_n(&window_.users[slot], __ATOMIC_ACQUIRE) >> 2 & VMSRS_TAG_GENERATION_MASK;
  }
  bool counts_as_crashed(std::uint64_t slot, std::uint64_t mode) const {
    const std::uint64_t epoch = __atomic_load_n(&window_.crash_epochs[slot], __ATOMIC_ACQUIRE);
    return epoch != 0 && epoch <= mode >> 1;
  }
  bool over(std::uint64_t tag) const {
    return vmsrs_tag_generation(tag) != current_generation(vmsrs_tag_slot(tag));
  }

  // S_open to S_close, or to S_trap.
  Step try_store(const fast::Region& region, std::uint64_t granule, std::uint64_t to,
                 const void* from, std::size_t count, bool& write_set_full) {
    vmsrs_user_area& area = *thread_.area;
    vmsrs_claim& claim = region.claims[granule];
    fast::open_window(area);
    const std::uint64_t mode = fast::mode_of(thread_);
    if (mode != thread_.seen_any) {
      fast::close_window(area);
      return note_mode(mode) ? Step::kAgain : Step::kCrashed;
    }
    const std::uint64_t bits =
        fast::mask_of((to - region.begin) & ((1ull << region.shift) - 1), count);
    const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
    if (tag == vmsrs_tag_of(thread_.own, thread_.own_check, granule)) {
      fast::set_mask(claim, bits, thread_.set);
    } else {
      const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
      const bool free = kind == VMSRS_TAG_UNOWNED || (kind == VMSRS_TAG_OWN && over(tag));
      write_set_full = free && thread_.set.count >= capacity();
      if (!free || write_set_full) {
        fast::close_window(area);
        return Step::kTrap;
      }
      if (!claim_granule(region, granule, claim, tag, bits, area)) {
        fast::close_window(area);
        return Step::kAgain;
      }
    }
    put(to, from, count);
    fast::close_window(area);
    return Step::kDone;
  }

  // S_append, S_claim, S_confirm
  bool claim_granule(const fast::Region& region, std::uint64_t granule, vmsrs_claim& claim,
                     std::uint64_t tag, std::uint64_t bits, vmsrs_user_area& area) {
    auto* const entries = reinterpret_cast<std::uint64_t*>(&area + 1);
    const std::uint64_t entry =
        vmsrs_entry(region.number, granule, vmsrs_tag_generation(thread_.own));
    const std::uint64_t position = thread_.set.count;
    const bool appended =
        position > 0 && __atomic_load_n(&entries[position - 1], __ATOMIC_ACQUIRE) ==
                            entry;  // by an attempt that lost
    if (!appended) {
      __atomic_store_n(&entries[position], entry, __ATOMIC_RELEASE);
      thread_.set.sum = vmsrs_write_set_sum(thread_.set.sum, entry);
      thread_.set.count = position + 1;
      __atomic_store_n(&area.count, position + 1, __ATOMIC_RELEASE);
    }
    const std::uint64_t mask = __atomic_load_n(&claim.mask, __ATOMIC_RELAXED);
    if (!fast::claim(claim, {tag, mask},
                     {vmsrs_tag_of(thread_.own, thread_.own_check, granule), bits}))
      return false;
    thread_.set.masked += static_cast<std::uint64_t>(__builtin_popcountll(bits));
    __atomic_store_n(&entries[appended ? position - 1 : position], entry | VMSRS_ENTRY_CONFIRMED,
                     __ATOMIC_RELEASE);
    return true;
  }

  // L_data to L_mode_again
  Step try_load(const fast::Region& region, std::uint64_t granule, std::uint64_t from,
                std::uint64_t& value, std::size_t count) {
    value = get(from, count);
    fast::barrier();
    const std::uint64_t mode = fast::mode_of(thread_);
    if (mode == thread_.seen) return Step::kDone;
    if (mode != thread_.seen_any) {
      if (!note_mode(mode)) return Step::kCrashed;
      if ((mode & VMSRS_MODE_SUPPRESSION) == 0) return Step::kAgain;
    }
    if (crashed_at(mode)) return Step::kCrashed;
    const vmsrs_claim& claim = region.claims[granule];
    const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
    const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
    if (kind != VMSRS_TAG_UNOWNED && kind != VMSRS_TAG_OWN) return Step::kTrap;
    if (thread_.sampled != 0 && kind == VMSRS_TAG_OWN && !over(tag) &&
        tag != vmsrs_tag_of(thread_.own, thread_.own_check, granule))
      return Step::kTrap;  // the engine notes who wrote
    value = get(from, count);
    fast::barrier();
    if (kind == VMSRS_TAG_OWN && !over(tag) && counts_as_crashed(vmsrs_tag_slot(tag), mode))
      return Step::kTrap;
    if (__atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE) != tag) return Step::kAgain;
    return fast::mode_of(thread_) == mode ? Step::kDone : Step::kAgain;
  }

  // C_freed to C_freed_again. False: the engine must be asked.
  bool try_committed(const fast::Region& region, std::uint64_t from, std::uint64_t& value,
                     std::size_t count) const {
    const std::uint64_t granule = (from - region.begin) >> region.shift;
    const vmsrs_claim& claim = region.claims[granule];
    const std::uint64_t freed = __atomic_load_n(&window_.status.freed, __ATOMIC_ACQUIRE);
    const std::uint64_t tag = __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE);
    const vmsrs_tag_kind kind = vmsrs_tag_kind_of(tag, granule);
    if (kind != VMSRS_TAG_UNOWNED && !(kind == VMSRS_TAG_OWN && over(tag))) return false;
    value = get(from, count);
    fast::barrier();
    return __atomic_load_n(&claim.tag, __ATOMIC_ACQUIRE) == tag &&
           __atomic_load_n(&window_.status.freed, __ATOMIC_ACQUIRE) == freed;
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
    fast::plain_store(reinterpret_cast<T*>(to), value);
  }

  fast::Thread& thread_;
  const vmsrs_window& window_;
  std::uint64_t area_bytes_;
  Calls& calls_;
  std::uint64_t status_ = VMSRS_OK;
};

}  // namespace vmsrs::guest
