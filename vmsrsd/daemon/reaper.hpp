// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "channel/channel.hpp"
#include "daemon/processes.hpp"

namespace vmsrs::daemon {

// Gives back what servers held whose process is dead. The hypervisor sees no process end; this
// daemon, in the same Linux, does. Used by one thread.
class Reaper {
 public:
  Reaper(channel::Channel& channel, Processes processes)
      : channel_(channel), processes_(std::move(processes)) {}

  // Looks at every attached server once.
  void pass();

 private:
  struct Seen {
    std::uint32_t process_id = 0;
    std::uint64_t start_time = 0;
  };
  [[nodiscard]] bool is_dead(const vmsrs_server_info& info);
  void reap(const vmsrs_server_info& info);

  channel::Channel& channel_;
  Processes processes_;
  std::map<std::uint32_t, Seen> seen_;  // by server: tells a process from a later one of its number
  bool told_invisible_ = false;
};

}  // namespace vmsrs::daemon
