// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Which blocks of a heap are taken: a binary buddy system over units of 64 bytes. What it knows
// lies beside the heap, not in it, so that a store past a block's end does not reach it; what it
// reads there is checked before it is followed. One thread at a time.
namespace vmsrs::guest {

class Buddy {
 public:
  static constexpr std::size_t kUnitBytes = 64;
  static constexpr std::uint32_t kNone = ~0u;

  // Memory that it needs for a heap of so many units: all zeroes, aligned to 8, as long as it
  // lives.
  static std::size_t bytes_for(std::uint32_t units);
  Buddy() = default;
  Buddy(void* memory, std::uint32_t units);

  // All units free, in blocks as large as can be.
  void clear();
  // A block of at least so many units, its first one; kNone: there is no room.
  std::uint32_t take(std::uint32_t units);
  // The block of exactly that size that begins there becomes taken. False: it is not free.
  bool take_at(std::uint32_t first, std::uint32_t units);
  // Of a taken block.
  void give_back(std::uint32_t first);

  bool is_taken(std::uint32_t first) const;
  // Of a taken block.
  std::uint32_t units_of(std::uint32_t first) const { return 1u << order_of(first); }
  // The taken block that the unit is in, or kNone.
  std::uint32_t block_of(std::uint32_t unit) const;

  // A number of the owner's for each taken block; 0 until it is set.
  std::uint32_t note(std::uint32_t first) const { return links_[first].next; }
  void set_note(std::uint32_t first, std::uint32_t note) { links_[first].next = note; }

  std::uint32_t units() const { return units_; }
  std::uint64_t free_units() const { return free_units_; }
  static std::uint32_t block_units(std::uint32_t units);  // what take() gives for so many

 private:
  static constexpr unsigned kOrders = 32;
  enum State : std::uint8_t { kWithin = 0, kFree = 1, kTaken = 2 };
  struct Link {
    std::uint32_t next, previous;
  };

  unsigned order_of(std::uint32_t first) const { return states_[first] >> 2 & (kOrders - 1); }
  State state_of(std::uint32_t first) const { return static_cast<State>(states_[first] & 3); }
  void mark(std::uint32_t first, unsigned order, State state) {
    states_[first] = static_cast<std::uint8_t>(order << 2 | state);
  }
  void push(std::uint32_t first, unsigned order);
  void remove(std::uint32_t first, unsigned order);
  bool fits(std::uint32_t first, unsigned order) const {
    return first % (1u << order) == 0 && std::uint64_t{first} + (1u << order) <= units_;
  }

  std::uint32_t units_ = 0;
  std::uint64_t free_units_ = 0;
  std::uint8_t* states_ = nullptr;
  Link* links_ = nullptr;
  std::uint32_t heads_[kOrders] = {};
};

}  // namespace vmsrs::guest
