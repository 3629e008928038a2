// SPDX-License-Identifier: Apache-2.0
#include "daemon/reaper.hpp"

#include <spdlog/spdlog.h>

#include <vector>

#include "channel/lists.hpp"
#include "channel/names.hpp"

namespace vmsrs::daemon {

void Reaper::pass() {
  if (!processes_.visible()) {
    if (!told_invisible_) {
      spdlog::warn("/proc does not show other processes: dead servers will not be reaped");
    }
    told_invisible_ = true;
    return;
  }
  std::vector<vmsrs_server_info> servers;
  const vmsrs_status status = channel::read_servers(channel_, servers);
  if (status == VMSRS_NO_ENGINE) {
    if (!told_no_engine_)
      spdlog::critical("the hypervisor has contradicted itself: NOTHING IS PROTECTED any more");
    told_no_engine_ = true;
    return;
  }
  if (status != VMSRS_OK) {
    spdlog::error("reading the list of servers: {}", channel::status_name(status));
    return;
  }
  std::set<Process> attached;
  for (const vmsrs_server_info& info : servers) {
    for (std::uint32_t i = 0; i < info.process_count && i < VMSRS_MAX_PROCESSES; ++i) {
      const Process process{info.server, info.process_ids[i]};
      attached.insert(process);
      if (is_dead(process)) reap(info, process);
    }
  }
  forget_all_but(attached);
}

void Reaper::forget_all_but(const std::set<Process>& attached) {
  std::erase_if(seen_, [&](const auto& entry) { return !attached.contains(entry.first); });
}

bool Reaper::is_dead(const Process& process) {
  const std::optional<std::uint64_t> start = processes_.start_time(process.second);
  if (!start) return true;
  return seen_.try_emplace(process, *start).first->second != *start;
}

void Reaper::reap(const vmsrs_server_info& info, const Process& process) {
  const vmsrs_status status = channel_.reap(info.server, process.second);
  if (status == VMSRS_OK) {
    spdlog::info("reaped process {} of server {}: it is dead", process.second,
                 channel::server_name(info));
    seen_.erase(process);
  } else if (status != VMSRS_WRONG_STATE) {  // that: attached anew meanwhile
    spdlog::error("reaping process {} of server {}: {}", process.second,
                  channel::server_name(info), channel::status_name(status));
  }
}

}  // namespace vmsrs::daemon
