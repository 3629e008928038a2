// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "channel/hypercall.hpp"
#include "monitor_machine.hpp"

namespace vmsrs::test {

// A ring of events in a file that processes share: it outlives a daemon that is killed, as the
// hypervisor's does. One process adds, one takes.
struct SharedRing {
  std::atomic<std::uint64_t> newest;        // number of the last event
  std::atomic<std::uint64_t> acknowledged;  // events up to this one may be forgotten
  std::atomic<std::uint64_t> read_calls;
  vmsrs_event records[VMSRS_EVENTS_KEPT];  // number n at n % VMSRS_EVENTS_KEPT

  // Null: no such file. It is as long as it is needed.
  static SharedRing* at(const std::string& path);
  // Adds the event that event_number() gives, if there is room.
  bool add_next();
};

// The n-th event: every field that an event of its type has depends on n.
[[nodiscard]] vmsrs_event event_number(std::uint64_t n);

// The machine of the tests, whose events come from a shared ring.
class RingHypercall final : public channel::Hypercall {
 public:
  RingHypercall(MonitorMachine& machine, SharedRing& ring) : below_(machine), ring_(ring) {}
  void call(channel::Registers& registers) override;

 private:
  MonitorHypercall below_;
  SharedRing& ring_;
};

}  // namespace vmsrs::test
