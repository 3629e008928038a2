// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <cstdint>

#include "recovery/record.hpp"
#include "recovery/tally.hpp"

namespace vmsrs::recovery {

// A thread of a server.
struct ThreadId {
  std::uint64_t base;     // its FS base, which threads of other processes may have as well
  std::uint32_t process;  // which of the server's it is

  bool operator==(const ThreadId&) const = default;
};
// What its program calls a user; of the slot's user if the generations agree.
struct UserLabel {
  std::uint64_t generation;
  std::uint32_t bytes;  // 0: none
  std::uint8_t text[VMSRS_LABEL_BYTES];
};
// What is left to do in eager regions because the user has crashed.
enum class EagerWork : std::uint8_t { kNone, kHold, kRestore, kSweep };

// A slot for an unfinished user.
struct User {
  std::uint64_t generation;  // never goes back, not even when the server's process changes
  ThreadId thread;
  std::uint64_t label;
  std::uint64_t begin_ns;
  std::uint64_t begin_mode;
  std::uint64_t crash_ns;
  std::uint64_t crash_epoch;  // the epoch from which it counts as crashed
  std::uint64_t suppressed_store_count;
  std::uint64_t restore_count;
  std::uint64_t restore_stamp;  // the last restoration that it was counted for
  std::uint64_t record_count;
  std::uint64_t checked_generation;  // what the last check saw
  vmsrs_write_set write_set;         // what it said of it at its end, or at its crash
  std::uint64_t masked_taken;  // vmsrs_masked_sum of what the engine has taken over from the masks
  std::uint64_t taken;         // how far the write set, or its claims, were gone through
  std::uint64_t
      read_from[4];  // unfinished users of which it was seen to read: their OWN tags' bodies
  std::uint64_t eager_done;  // entries restored while others were held; then bytes of swept_region
  vmsrs_fault fault;
  RecordId records;
  std::uint32_t depth;  // 0 while crashed: at its end point
  std::uint32_t fault_count;
  std::uint8_t state;  // enum vmsrs_user_state
  bool collect_requested;
  bool restored;   // collected ahead of its end point: must hold no record
  bool quiet;      // nothing was heard of it since its thread was given it: it may not have begun
  bool reader;     // it has said that it only reads: its stores are refused
  bool drained;    // crashed, and no store of its can be under way any more
  bool heard;      // crashed, and its own thread knows
  bool seen_to;    // crashed, and its own process knows: its time is bounded
  bool orphan;     // crashed, for its process is gone: collected by the others
  bool aging;      // the slot rests, and its old tags are being cleared
  bool suspended;  // no thread's: `thread` is a name that none has
  bool seen;  // crashed by a fault that the processor saw, and of which its thread has yet to tell
  bool crash_told;  // there is an event of its crash
  bool telling;     // its thread's first USER_CRASH is to be repeated
  EagerWork eager_work;
  bool left_behind;  // a granule was left to whoever holds nobody
  std::uint8_t swept_region;
  std::uint8_t read_count;  // places of read_from that were used, and used again
  bool was_read;            // another has it in its read_from
  bool exposed;             // one of its read_from has crashed

  bool crashed() const { return state >= VMSRS_USER_CRASHED; }
  bool unheard_of() const { return quiet && !crashed(); }
  std::uint64_t word() const {
    return generation << 2 | (orphan ? std::uint64_t{VMSRS_USER_FREE} : state);
  }
};

using Slot = std::uint16_t;
constexpr Slot kNoSlot = 0xffff;

// The users of one server, found by the thread that began them: open addressing with linear
// probing, at most half full. Not thread-safe: under the server's lock.
class UserTable {
 public:
  static constexpr std::size_t kBytes = (sizeof(User) + sizeof(UserLabel)) * VMSRS_MAX_USERS +
                                        sizeof(Slot) * (2 + 1) * VMSRS_MAX_USERS;

  void initialise(void* memory);  // kBytes of it

  User& operator[](Slot slot) { return users_[slot]; }
  const User& operator[](Slot slot) const { return users_[slot]; }
  // Kept apart: users change far more often than they are labelled.
  void set_label(Slot slot, const void* text, std::uint32_t bytes);
  UserLabel label(Slot slot) const;  // of its present user
  Slot slot_of(const User& user) const { return static_cast<Slot>(&user - users_); }

  Slot find(ThreadId thread) const;
  // A free slot for the thread, now ACTIVE, or kNoSlot.
  Slot open(ThreadId thread);
  // The slot's user is of no thread; of this one, which has no user.
  void suspend(Slot slot);
  void resume(Slot slot, ThreadId thread);
  // The slot's thread is no more; its user stays, as an orphan.
  void abandon(Slot slot);
  // The slot is free again, with its next generation; or it rests, if that is the last one before
  // those in tags come round.
  void close(Slot slot);
  // Would the slot rest?
  bool comes_round(Slot slot) const { return is_last(users_[slot].generation + 1); }
  bool resting(Slot slot) const { return is_last(users_[slot].generation); }
  std::uint32_t resting_count() const { return resting_count_; }
  // The slot has rested: it is free, with its next generation.
  void wake(Slot slot);
  // The same thread has the slot's next generation, ACTIVE, as its next user. Not where that comes
  // round.
  void renew(Slot slot);
  const Tally& open_count() const { return open_count_; }
  void begin_recount() { open_count_.begin_recount(); }
  void pass(Slot slot) { open_count_.pass(slot + 1u, users_[slot].state != VMSRS_USER_FREE); }

 private:
  friend struct EngineProbe;
  static constexpr std::uint32_t kPlaces = 2 * VMSRS_MAX_USERS;

  static std::uint32_t place_for(ThreadId thread) {
    const std::uint64_t number = thread.base + thread.process;
    return static_cast<std::uint32_t>((number * 0x9e3779b97f4a7c15ull) >> 53);
  }
  void place(Slot slot);
  void forget(ThreadId thread);
  // No user has such a generation, so no tag says it.
  static bool is_last(std::uint64_t generation) {
    return (generation & VMSRS_TAG_GENERATION_MASK) == VMSRS_TAG_GENERATION_MASK;
  }

  User* users_ = nullptr;
  UserLabel* labels_ = nullptr;
  Slot* places_ = nullptr;
  Slot* free_ = nullptr;  // a stack: the slot freed last is used first
  std::uint32_t free_count_ = 0;
  std::uint32_t resting_count_ = 0;
  Tally open_count_;  // by slot
};
static_assert(2 * VMSRS_MAX_USERS == 1u << (64 - 53));

}  // namespace vmsrs::recovery
