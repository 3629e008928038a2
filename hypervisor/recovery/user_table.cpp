// SPDX-License-Identifier: Apache-2.0
#include "recovery/user_table.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint64_t kNoThreads = 1ull << 63;  // no FS base in the user half is so large

}  // namespace

void UserTable::initialise(void* memory) {
  clear_bytes(memory, kBytes);
  users_ = static_cast<User*>(memory);
  labels_ = reinterpret_cast<UserLabel*>(users_ + VMSRS_MAX_USERS);
  places_ = reinterpret_cast<Slot*>(labels_ + VMSRS_MAX_USERS);
  free_ = places_ + kPlaces;
  for (std::uint32_t i = 0; i < kPlaces; ++i) places_[i] = kNoSlot;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS; ++i)
    free_[i] = static_cast<Slot>(VMSRS_MAX_USERS - 1 - i);
  free_count_ = VMSRS_MAX_USERS;
  resting_count_ = 0;
  open_count_.clear();
}

Slot UserTable::find(ThreadId thread) const {
  for (std::uint32_t at = place_for(thread);; at = (at + 1) % kPlaces) {
    const Slot slot = places_[at];
    if (slot == kNoSlot || users_[slot].thread == thread) return slot;
  }
}

Slot UserTable::open(ThreadId thread) {
  if (free_count_ == 0) return kNoSlot;
  const Slot slot = free_[--free_count_];
  open_count_.add(slot);
  User& user = users_[slot];
  const std::uint64_t generation = user.generation;
  const std::uint64_t checked = user.checked_generation;
  user = User{};
  user.generation = generation;
  user.checked_generation = checked;
  user.thread = thread;
  user.state = VMSRS_USER_ACTIVE;
  place(slot);
  return slot;
}

void UserTable::place(Slot slot) {
  std::uint32_t at = place_for(users_[slot].thread);
  while (places_[at] != kNoSlot) at = (at + 1) % kPlaces;
  places_[at] = slot;
}

void UserTable::set_label(Slot slot, const void* text, std::uint32_t bytes) {
  UserLabel& label = labels_[slot];
  label = UserLabel{};
  label.generation = users_[slot].generation;
  label.bytes = bytes;
  copy_bytes(label.text, text, bytes);
}

UserLabel UserTable::label(Slot slot) const {
  return labels_[slot].generation == users_[slot].generation ? labels_[slot] : UserLabel{};
}

void UserTable::close(Slot slot) {
  User& user = users_[slot];
  if (!user.orphan) forget(user.thread);
  user.state = VMSRS_USER_FREE;
  user.quiet = user.orphan = false;
  ++user.generation;
  open_count_.remove(slot);
  if (resting(slot))
    ++resting_count_;
  else
    free_[free_count_++] = slot;
}

void UserTable::wake(Slot slot) {
  User& user = users_[slot];
  user.aging = false;
  ++user.generation;
  --resting_count_;
  free_[free_count_++] = slot;
}

void UserTable::abandon(Slot slot) {
  forget(users_[slot].thread);
  users_[slot].orphan = true;
}

void UserTable::suspend(Slot slot) {
  User& user = users_[slot];
  forget(user.thread);
  user.thread.base = kNoThreads | slot;
  user.suspended = true;
  place(slot);
}

void UserTable::resume(Slot slot, ThreadId thread) {
  User& user = users_[slot];
  forget(user.thread);
  user.thread = thread;
  user.suspended = false;
  place(slot);
}

void UserTable::renew(Slot slot) {
  User& user = users_[slot];
  const User last = user;
  user = User{};
  user.generation = last.generation + 1;
  user.checked_generation = last.checked_generation;
  user.thread = last.thread;
  user.state = VMSRS_USER_ACTIVE;
}

// Backward-shift deletion: what was pushed past the hole moves into it, so that no probe ends
// early.
void UserTable::forget(ThreadId thread) {
  std::uint32_t hole = place_for(thread);
  while (users_[places_[hole]].thread != thread) hole = (hole + 1) % kPlaces;
  for (std::uint32_t at = (hole + 1) % kPlaces; places_[at] != kNoSlot; at = (at + 1) % kPlaces) {
    const std::uint32_t home = place_for(users_[places_[at]].thread);
    if ((at - home) % kPlaces < (at - hole) % kPlaces) continue;
    places_[hole] = places_[at];
    hole = at;
  }
  places_[hole] = kNoSlot;
}

}  // namespace vmsrs::recovery
