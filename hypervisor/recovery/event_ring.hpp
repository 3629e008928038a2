// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <atomic>
#include <cstdint>

#include "recovery/spin_lock.hpp"

namespace vmsrs::recovery {

// What has happened, until somebody has taken it over (acknowledge). While it is full, new events
// are dropped and counted, so that what began the trouble stays; a LOST event says how many, as
// soon as there is room. Thread-safe, and its lock is the last one taken: events are added under
// any other.
class EventRing {
 public:
  static constexpr std::uint64_t kRecords = VMSRS_EVENTS_KEPT;

  // `start_ns`: when the machine's clock, that of uptime_ns, began.
  EventRing(Platform& platform, std::uint64_t start_ns);

  // `time_ns` is the platform's; number and boot are filled in.
  void add(const vmsrs_event& event);
  // Of a kind that anybody can cause as often as he likes. Of each type and server only one waits
  // to be acknowledged; what comes meanwhile becomes one more, which is added when that one is.
  void add_merged(const vmsrs_event& event);

  // From number `cursor` on, or the oldest that is kept; `cursor` becomes the number of the next.
  std::uint32_t read(std::uint64_t& cursor, vmsrs_event* out, std::uint32_t room);
  // All up to that number are safe elsewhere. False: that one has not been written yet.
  bool acknowledge(std::uint64_t sequence, std::uint64_t& left);
  std::uint64_t lost_count() const { return lost_; }  // in all; under no lock
  std::uint64_t boot() const { return boot_; }

 private:
  struct Merged {
    vmsrs_event waiting;     // count 0: nothing waits
    std::uint64_t sequence;  // of the last one that was added
  };
  static constexpr std::uint32_t kMergedTypes = 3;
  static constexpr std::uint32_t kMergedOfType = VMSRS_MAX_SERVERS + 1;  // the last one: no server

  Merged& merged_with(const vmsrs_event& event);
  bool full() const { return newest_ - acknowledged_ == kRecords; }
  void append(const vmsrs_event& event);
  void append_waiting();

  Platform& platform_;
  const std::uint64_t start_ns_;
  const std::uint64_t boot_;
  SpinLock lock_;
  std::uint64_t newest_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::atomic<std::uint64_t> lost_{0};
  vmsrs_event waiting_{};  // LOST: of events since there is no room
  Merged merged_[kMergedTypes][kMergedOfType] = {};
  vmsrs_event records_[kRecords];  // number n at n % kRecords
};

}  // namespace vmsrs::recovery
