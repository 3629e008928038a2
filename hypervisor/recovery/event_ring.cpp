// SPDX-License-Identifier: Apache-2.0
#include "recovery/event_ring.hpp"

namespace vmsrs::recovery {
namespace {

// Signed 64-bit numbers can hold it.
std::uint64_t boot_number(Platform& platform) {
  const std::uint64_t number = platform.random() >> 1;
  return number != 0 ? number : 1;
}

// One event that stands for all of them: the first one's time, the rest is the last one's.
void merge(vmsrs_event& all, const vmsrs_event& event) {
  const std::uint64_t began = all.count != 0 ? all.time_ns : event.time_ns;
  const std::uint64_t count = all.count + event.count;
  all = event;
  all.time_ns = began;
  all.duration_ns = event.time_ns > began ? event.time_ns - began : 0;
  all.count = count;
}

}  // namespace

EventRing::EventRing(Platform& platform, std::uint64_t start_ns)
    : platform_(platform), start_ns_(start_ns), boot_(boot_number(platform)) {}

void EventRing::append(const vmsrs_event& event) {
  const std::uint64_t sequence = ++newest_;
  vmsrs_event& record = records_[sequence % kRecords];
  record = event;
  record.sequence = sequence;
  record.boot = boot_;
  record.time_ns = event.time_ns > start_ns_ ? event.time_ns - start_ns_ : 0;
}

void EventRing::add(const vmsrs_event& event) {
  const LockGuard guard(lock_, platform_);
  if (!full()) return append(event);
  ++lost_;
  vmsrs_event lost{};
  lost.type = VMSRS_EVENT_LOST;
  lost.server = VMSRS_EVENT_NO_SERVER;
  lost.slot = VMSRS_EVENT_NO_USER;
  lost.time_ns = event.time_ns;
  lost.count = 1;
  merge(waiting_, lost);
}

EventRing::Merged& EventRing::merged_with(const vmsrs_event& event) {
  constexpr std::uint32_t kFirst = VMSRS_EVENT_DENIED;
  static_assert(VMSRS_EVENT_STORAGE_FULL == kFirst + 1 && VMSRS_EVENT_UNPROTECTED == kFirst + 2);
  const std::uint32_t server = event.server < VMSRS_MAX_SERVERS ? event.server : VMSRS_MAX_SERVERS;
  return merged_[event.type - kFirst][server];
}

void EventRing::add_merged(const vmsrs_event& event) {
  const LockGuard guard(lock_, platform_);
  Merged& merged = merged_with(event);
  merge(merged.waiting, event);
  if (merged.sequence <= acknowledged_ && !full()) {
    append(merged.waiting);
    merged.sequence = newest_;
    merged.waiting = {};
  }
}

std::uint32_t EventRing::read(std::uint64_t& cursor, vmsrs_event* out, std::uint32_t room) {
  const LockGuard guard(lock_, platform_);
  if (cursor <= acknowledged_) cursor = acknowledged_ + 1;
  std::uint32_t count = 0;
  for (; count < room && cursor <= newest_; ++count, ++cursor)
    out[count] = records_[cursor % kRecords];
  return count;
}

bool EventRing::acknowledge(std::uint64_t sequence, std::uint64_t& left) {
  const LockGuard guard(lock_, platform_);
  if (sequence > newest_) return false;
  if (sequence > acknowledged_) {
    acknowledged_ = sequence;
    append_waiting();
  }
  left = newest_ - acknowledged_;
  return true;
}

// There is room again. What has no place now waits on, and nothing of it is lost.
void EventRing::append_waiting() {
  if (waiting_.count > 0 && !full()) {
    append(waiting_);
    waiting_ = {};
  }
  for (auto& type : merged_)
    for (Merged& merged : type) {
      if (merged.waiting.count == 0 || merged.sequence > acknowledged_ || full()) continue;
      append(merged.waiting);
      merged.sequence = newest_;
      merged.waiting = {};
    }
}

}  // namespace vmsrs::recovery
