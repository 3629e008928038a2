// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace vmsrs::test {

// Which events a server must have caused, in which order. Only when users of dead processes are
// collected is the engine's to choose.
class EventModel {
 public:
  struct User {
    std::uint64_t slot, generation, label;
    std::uint32_t process;
    bool operator==(const User& other) const {
      return slot == other.slot && generation == other.generation;
    }
  };

  void of_process(vmsrs_event_type type, std::uint32_t process, std::uint64_t count) {
    expected_.push_back({type, {}, process, VMSRS_FAULT_NONE, count, 0});
  }
  void crash(const User& user, vmsrs_fault_kind kind) {
    if (crashed_.empty()) {
      expected_.push_back({VMSRS_EVENT_SUPPRESSION_BEGAN, user, user.process, kind, 0, 0});
      collected_ = dropped_ = 0;
    }
    crashed_.push_back(user);
    expected_.push_back({VMSRS_EVENT_CRASH, user, user.process, kind, 0, 0});
  }
  void stuck(const User& user, vmsrs_fault_kind kind) {
    expected_.push_back({VMSRS_EVENT_STUCK, user, user.process, kind, 0, 0});
  }
  void drop_store() { ++dropped_; }
  void collect(const User& user, vmsrs_fault_kind kind, std::uint64_t dropped) {
    expected_.push_back({VMSRS_EVENT_COLLECTED, user, user.process, kind, 0, dropped});
    if (leave(user)) expected_.push_back(ended());
  }
  // Its process is no more: it has crashed, and is collected some time.
  void orphan(const User& user, vmsrs_fault_kind kind, std::uint64_t dropped) {
    orphans_.push_back({VMSRS_EVENT_COLLECTED, user, 0, kind, 0, dropped});
  }
  // A call was refused for want of storage.
  void no_storage() {
    expected_.push_back({VMSRS_EVENT_STORAGE_FULL, {}, kAnyProcess, VMSRS_FAULT_NONE, 1, 0});
  }
  bool has_orphans() const { return !orphans_.empty(); }

  std::optional<std::string> compare(const vmsrs_event& event) {
    const auto orphan = std::find_if(orphans_.begin(), orphans_.end(),
                                     [&](const Event& each) { return each.is(event); });
    if (orphan != orphans_.end()) {
      const User user = orphan->user;
      orphans_.erase(orphan);
      if (leave(user)) expected_.push_front(ended());
      return {};
    }
    if (expected_.empty()) return "an event too many: " + text(event);
    const Event wanted = expected_.front();
    expected_.pop_front();
    if (!wanted.is(event))
      return "event " + text(event) + ", expected type " + std::to_string(wanted.type) +
             " of slot " + std::to_string(wanted.user.slot);
    return {};
  }
  std::optional<std::string> nothing_is_missing() const {
    if (expected_.empty()) return {};
    return "no event of type " + std::to_string(expected_.front().type);
  }

 private:
  static constexpr std::uint32_t kAnyProcess = ~0u;

  struct Event {
    vmsrs_event_type type;
    User user;
    std::uint32_t process;
    vmsrs_fault_kind kind;
    std::uint64_t count, dropped;

    bool is(const vmsrs_event& event) const {
      if (event.type != type || event.suppressed_store_count != dropped) return false;
      if (process != kAnyProcess && event.process_id != process) return false;
      switch (type) {
        case VMSRS_EVENT_SUPPRESSION_BEGAN:
        case VMSRS_EVENT_CRASH:
        case VMSRS_EVENT_STUCK:
        case VMSRS_EVENT_COLLECTED:
          return event.slot == user.slot && event.generation == user.generation &&
                 event.label == user.label && event.fault.kind == kind;
        default:
          return event.slot == VMSRS_EVENT_NO_USER && event.count == count;
      }
    }
  };

  static std::string text(const vmsrs_event& event) {
    return std::to_string(event.sequence) + " of type " + std::to_string(event.type) + ", slot " +
           std::to_string(event.slot) + ", process " + std::to_string(event.process_id) +
           ", fault " + std::to_string(event.fault.kind) + ", count " +
           std::to_string(event.count) + ", dropped " +
           std::to_string(event.suppressed_store_count);
  }
  // Was it the last one?
  bool leave(const User& user) {
    crashed_.erase(std::find(crashed_.begin(), crashed_.end(), user));
    ++collected_;
    return crashed_.empty();
  }
  Event ended() const {
    return {VMSRS_EVENT_SUPPRESSION_ENDED, {}, 0, VMSRS_FAULT_NONE, collected_, dropped_};
  }

  std::deque<Event> expected_;
  std::vector<User> crashed_;
  std::vector<Event> orphans_;
  std::uint64_t collected_ = 0, dropped_ = 0;  // since suppression began
};

}  // namespace vmsrs::test
