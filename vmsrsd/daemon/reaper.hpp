// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "channel/channel.hpp"
#include "daemon/processes.hpp"

namespace vmsrs::daemon {

// Gives back what processes of servers held that are dead. The hypervisor sees no process end; this
// daemon, in the same Linux, does. Used by one thread.
class Reaper {
 public:
  Reaper(channel::Channel& channel, Processes processes)
      : channel_(channel), processes_(std::move(processes)) {}

  // Looks at every attached server once.
  void pass();

 private:
  using Process = std::pair<std::uint32_t, std::uint32_t>;  // its server, and its own number
  void forget_all_but(const std::set<Process>& attached);
  [[nodiscard]] bool is_dead(const Process& process);
  void reap(const vmsrs_server_info& info, const Process& process);

  channel::Channel& channel_;
  Processes processes_;
  std::map<Process, std::uint64_t> seen_;  // start times: tell it from a later one of its number
  bool told_invisible_ = false;
  bool told_no_engine_ = false;
};

}  // namespace vmsrs::daemon
