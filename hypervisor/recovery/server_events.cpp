// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// What becomes an event (MGMT_EVENTS): see the ring for what becomes of events.
namespace vmsrs::recovery {
namespace {

std::uint32_t in_32_bits(std::uint64_t count) {
  return count < 0xffffffff ? static_cast<std::uint32_t>(count) : 0xffffffff;
}

}  // namespace

vmsrs_event Server::event(vmsrs_event_type type) const {
  vmsrs_event event{};
  event.type = static_cast<std::uint16_t>(type);
  event.server = index_;
  event.slot = VMSRS_EVENT_NO_USER;
  event.time_ns = platform_->now_ns();
  return event;
}

vmsrs_event Server::event(vmsrs_event_type type, Slot slot) const {
  const User& user = ledger_.users[slot];
  vmsrs_event event = this->event(type);
  event.slot = slot;
  event.generation = user.generation;
  event.process_id = user.orphan ? 0 : processes_[user.thread.process].process_id;
  event.label = user.label;
  event.fault = user.fault;
  event.fault_count = user.fault_count;
  event.exposed = user.exposed;
  const UserLabel label = ledger_.users.label(slot);
  event.label_bytes = static_cast<std::uint8_t>(label.bytes);
  copy_bytes(event.label_text, label.text, label.bytes);
  return event;
}

// Where the processor has seen the fault, its thread has more to say of it, so it is waited for.
void Server::tell_crash(Slot slot, const vmsrs_crash* told) {
  User& user = ledger_.users[slot];
  if (user.crash_told) return;
  user.crash_told = true;
  vmsrs_event crash = event(VMSRS_EVENT_CRASH, slot);
  crash.time_ns = user.crash_ns;
  if (told != nullptr) {
    crash.trace_count = static_cast<std::uint8_t>(told->trace_count);
    copy_bytes(crash.trace, told->trace, told->trace_count * sizeof *told->trace);
  }
  events_->add(crash);
}

// Nothing is told of a user before its crash is.
void Server::tell_of_user(vmsrs_event_type type, Slot slot) {
  tell_crash(slot, nullptr);
  events_->add(event(type, slot));
}

void Server::tell_collected(Slot slot) {
  const User& user = ledger_.users[slot];
  tell_crash(slot, nullptr);
  vmsrs_event collected = event(VMSRS_EVENT_COLLECTED, slot);
  collected.duration_ns = collected.time_ns - user.crash_ns;
  collected.suppressed_store_count = user.suppressed_store_count;
  collected.count = user.restore_count;
  events_->add(collected);
}

void Server::tell_suppression_began(Slot slot) {
  vmsrs_event began = event(VMSRS_EVENT_SUPPRESSION_BEGAN, slot);
  began.time_ns = suppression_began_ns_;
  before_suppression_ = counters_;
  events_->add(began);
}

void Server::tell_suppression_ended() {
  const Counters& before = before_suppression_;
  vmsrs_event ended = event(VMSRS_EVENT_SUPPRESSION_ENDED);
  ended.duration_ns = ended.time_ns - suppression_began_ns_;
  ended.count = counters_.collected - before.collected;
  ended.suppressed_store_count = counters_.suppressed_stores - before.suppressed_stores;
  for (std::uint32_t cause = 0; cause < VMSRS_RESTORE_CAUSE_COUNT; ++cause)
    ended.restored[cause] =
        in_32_bits(counters_.restores[cause].count - before.restores[cause].count);
  events_->add(ended);
}

void Server::tell_of_process(vmsrs_event_type type, std::uint32_t process, std::uint64_t count) {
  vmsrs_event told = event(type);
  told.process_id = processes_[process].process_id;
  told.count = count;
  events_->add(told);
}

void Server::tell_denied(vmsrs_event denied) {
  denied.server = index_;
  denied.process_id = processes_[present_].process_id;
  events_->add_merged(denied);
}

void Server::count_no_storage() {
  ++counters_.no_storage;
  tell_merged(VMSRS_EVENT_STORAGE_FULL);
}

void Server::count_unprotected_store() {
  ++counters_.unprotected_stores;
  tell_merged(VMSRS_EVENT_UNPROTECTED);
}

void Server::tell_merged(vmsrs_event_type type) {
  vmsrs_event told = event(type);
  told.process_id = present_ < kNoProcess ? processes_[present_].process_id : 0;
  told.count = 1;
  events_->add_merged(told);
}

}  // namespace vmsrs::recovery
