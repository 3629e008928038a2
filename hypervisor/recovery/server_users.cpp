// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kDeepest = 1u << 16;

}  // namespace

Reply Server::user_begin(std::uint64_t label, bool reader, Thread thread) {
  Slot slot = ledger_.users.find(thread.id);
  if (slot != kNoSlot) {
    User& user = ledger_.users[slot];
    if (user.crashed() && user.quiet) user.depth = 0;  // between two scopes of its thread
    if (user.depth == 0) return VMSRS_CRASHED;         // it has still to be collected
    if (user.quiet) {
      user.label = label;
      user.reader = reader;
      user.quiet = !reader;
      return {VMSRS_OK, slot, user.depth};
    }
    if (reader && !user.reader) return VMSRS_WRONG_STATE;
    if (user.depth == kDeepest) return VMSRS_NO_SLOT;
    return {VMSRS_OK, slot, ++user.depth};
  }
  const std::uint32_t quota = definition_.user_quota;
  if (quota != 0 && ledger_.users.open_count() >= quota) return VMSRS_NO_SLOT;
  slot = ledger_.users.open(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_SLOT;
  User& user = ledger_.users[slot];
  user.label = label;
  user.depth = 1;
  user.reader = reader;
  user.quiet = areas_ != 0 && !reader;
  user.begin_ns = platform_->now_ns();
  user.begin_mode = mode_;
  ++counters_.begun;
  publish_user(slot);
  return {VMSRS_OK, slot, user.depth};
}

Reply Server::user_end(bool keep, bool unwound, const vmsrs_write_set& set,
                       const HandedOver& handed_over, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (user.crashed()) {
    if (!user.heard) user.write_set = set;
    note_seen_to(user);
    if (unwound) tell_of_user(VMSRS_EVENT_UNWOUND, slot);
  }
  if (user.crashed() || user.depth > 1) {
    if (user.depth > 0) --user.depth;
    return {user.crashed() ? VMSRS_CRASHED : VMSRS_OK, user.depth};
  }
  user.write_set = set;
  if (const Reply reply = commit(slot, handed_over, thread.memory); !reply.ok()) return reply;
  ++counters_.finished;
  if (!keep || ledger_.users.comes_round(slot)) {
    close_user(slot);
    return {VMSRS_OK, 0, user.word()};
  }
  forget_request(user);
  ledger_.users.renew(slot);
  user.quiet = true;
  user.depth = 1;
  user.begin_ns = platform_->recent_ns();
  user.begin_mode = mode_;
  ++counters_.begun;
  publish_user(slot);
  return {VMSRS_OK, 0, user.word()};
}

// All or nothing: what may fail comes first, and changes nothing that others see.
Reply Server::commit(Slot slot, const HandedOver& handed_over, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  const Reply reply = commit_claims(slot, handed_over, memory);
  if (reply.ok()) {
    ledger_.commit(slot);
    return VMSRS_OK;
  }
  if (reply.status == VMSRS_NO_STORAGE || reply.status == VMSRS_WRONG_STATE) {
    // It cannot be said, or not be kept, what this user wrote: its end is a crash.
    crash_without_fault(slot,
                        reply.status == VMSRS_NO_STORAGE ? VMSRS_FAULT_STORAGE : VMSRS_FAULT_CHECK,
                        CrashedBy::kItself);
  }
  if (!user.crashed()) return reply;
  user.depth = 0;
  return {VMSRS_CRASHED, 0};
}

void Server::crash_without_fault(Slot slot, vmsrs_fault_kind kind, CrashedBy by) {
  User& user = ledger_.users[slot];
  user.fault = vmsrs_fault{kind, 0, 0, 0};
  ++counters_.faults[kind];
  ++user.fault_count;
  enter_suppression(slot, by);
  tell_crash(slot, nullptr);
}

// AGAIN and TOUCH: the call is repeated, and nothing of it counts twice.
Reply Server::user_crash(const vmsrs_crash& crash, std::uint64_t label, std::uint64_t depth,
                         const vmsrs_write_set& set, bool restores, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (!user.telling)
    if (const Reply reply = first_word_of_crash(slot, crash, label, depth, set); !reply.ok())
      return reply;
  if (!restores) user.eager_work = EagerWork::kNone;
  const Reply reply = restore_eagerly(slot, thread.memory);
  user.telling = !reply.ok();
  return reply.ok() ? Reply{VMSRS_OK, user.fault_count, slot} : reply;
}

Reply Server::first_word_of_crash(Slot slot, const vmsrs_crash& crash, std::uint64_t label,
                                  std::uint64_t depth, const vmsrs_write_set& set) {
  User& user = ledger_.users[slot];
  const vmsrs_fault& fault = crash.fault;
  const bool declared = user.crashed();
  const bool seen = user.seen && !user.heard;  // counted when it was
  if (seen && fault.kind != VMSRS_FAULT_NONE) {
    user.fault = fault;
  } else if (fault.kind != VMSRS_FAULT_NONE) {
    ++counters_.faults[fault.kind];
    ++user.fault_count;
  } else if (!declared) {
    return VMSRS_WRONG_STATE;
  }
  if (declared && user.heard) return {VMSRS_CRASHED, user.fault_count, slot};
  user.quiet = false;
  user.write_set = set;
  if (depth != 0) {
    user.depth = static_cast<std::uint32_t>(depth < kDeepest ? depth : kDeepest);
    user.label = label;
  }
  if (crash.label_bytes != 0) ledger_.users.set_label(slot, crash.label_text, crash.label_bytes);
  if (declared) {
    user.heard = true;
    note_seen_to(user);
  } else {
    user.fault = fault;
    enter_suppression(slot, CrashedBy::kItself);
    request_scrub(kEveryByte);
  }
  tell_crash(slot, &crash);
  return VMSRS_OK;
}

// The thread stands at the instruction that faulted. Whether its kernel tells it, or somebody else
// gets the signal, is not known; it hears of its crash at its next call at the latest.
void Server::see_fault(const vmsrs_fault& fault, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot || areas_ == 0 || !contains_faults(thread.id.process)) return;
  vmsrs_user_area area{};
  if (ledger_.users[slot].crashed() ||
      !thread.memory.read(GuestVirtual{area_of(slot)}, &area, sizeof area) || area.depth == 0)
    return;
  User& user = ledger_.users[slot];
  user.fault = fault;
  user.seen = true;
  ++counters_.faults[fault.kind];
  ++user.fault_count;
  enter_suppression(slot, CrashedBy::kAnother);
  user.drained = area.window != 1 && area.hook_window != 1;
  // The first piece of it, and no sweep: this is an exception, and its thread will call.
  if (user.drained && user.eager_work == EagerWork::kHold && reaches(user.thread.process))
    (void)restore_held(slot, thread.memory);
  request_scrub(kEveryByte);
  call_for_service();
}

bool Server::contains_faults(std::uint32_t process) const {
  const WatchedFaults own = processes_[process].faults;
  if (containment_ == VMSRS_SERVER_OWN) return own == WatchedFaults::kContained;
  return own != WatchedFaults::kUnwatched && containment_ == VMSRS_SERVER_CONTAIN;
}

Reply Server::user_suppress(std::uint64_t wanted, std::uint64_t generation, vmsrs_fault_kind kind) {
  if (wanted >= VMSRS_MAX_USERS) return VMSRS_NOT_FOUND;
  const Slot slot = static_cast<Slot>(wanted);
  const User& user = ledger_.users[slot];
  if (user.state == VMSRS_USER_FREE || user.generation != generation) return VMSRS_NOT_FOUND;
  if (!user.crashed()) {
    crash_without_fault(slot, kind, CrashedBy::kAnother);
    request_scrub(kEveryByte);
    call_for_service();
  }
  return {VMSRS_OK, user.crash_epoch};
}

// A process without areas has seen no window of one that has.
Reply Server::user_drained(std::uint64_t wanted, std::uint64_t epoch, Thread thread) {
  if (wanted == VMSRS_EVERY_USER) return slots_aged(epoch);
  if (wanted >= VMSRS_MAX_USERS) return VMSRS_NOT_FOUND;
  const Slot slot = static_cast<Slot>(wanted);
  User& user = ledger_.users[slot];
  if (!user.crashed() || (user.crash_epoch != epoch && !hole(22))) return VMSRS_WRONG_STATE;
  const bool own = user.thread.process == thread.id.process;
  if (own)
    note_seen_to(user);
  else if (areas_ != 0 || user.orphan || processes_[user.thread.process].areas == 0)
    note_drained(user);
  else
    return VMSRS_WRONG_STATE;
  return restore_eagerly(slot, thread.memory);
}

Reply Server::user_abandon(std::uint64_t wanted, std::uint64_t generation) {
  const Reply reply = user_suppress(wanted, generation, VMSRS_FAULT_CHECK);
  if (!reply.ok()) return reply;
  User& user = ledger_.users[static_cast<Slot>(wanted)];
  if (!user.drained) enter_stuck(user);
  return reply;
}

Reply Server::user_suspend(std::uint64_t label, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (user.crashed()) return VMSRS_CRASHED;
  if (user.depth != 1 || user.reader) return VMSRS_WRONG_STATE;
  user.label = label;
  user.quiet = false;
  ledger_.users.suspend(slot);
  return VMSRS_OK;
}

Reply Server::user_resume(std::uint64_t wanted, std::uint64_t generation, Thread thread) {
  if (wanted >= VMSRS_MAX_USERS) return VMSRS_NOT_FOUND;
  const Slot slot = static_cast<Slot>(wanted);
  const User& user = ledger_.users[slot];
  if (user.state == VMSRS_USER_FREE || user.generation != generation || !user.suspended ||
      user.orphan || user.thread.process != thread.id.process)
    return VMSRS_NOT_FOUND;
  if (!end_idle_thread(thread)) return VMSRS_USER_EXISTS;
  ledger_.users.resume(slot, thread.id);
  return {VMSRS_OK, slot, user.word()};
}

bool Server::end_idle_thread(Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return true;
  const User& user = ledger_.users[slot];
  vmsrs_user_area area{};
  if (!user.quiet || user.crashed() || user.records != kNoRecord ||
      !thread.memory.read(GuestVirtual{area_of(slot)}, &area, sizeof area) || area.count != 0)
    return false;
  --counters_.begun;
  close_user(slot);
  return true;
}

Reply Server::user_label(const void* text, std::uint32_t bytes, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  ledger_.users.set_label(slot, text, bytes);
  return VMSRS_OK;
}

Reply Server::user_stuck(Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (!user.crashed()) return VMSRS_WRONG_STATE;
  note_seen_to(user);  // its thread stores nothing any more
  enter_stuck(user);
  return VMSRS_OK;
}

}  // namespace vmsrs::recovery
