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
  if (status != VMSRS_OK) {
    spdlog::error("reading the list of servers: {}", channel::status_name(status));
    return;
  }
  for (const vmsrs_server_info& info : servers) {
    if (info.attached == 0) {
      seen_.erase(info.server);
    } else if (is_dead(info)) {
      reap(info);
    }
  }
}

bool Reaper::is_dead(const vmsrs_server_info& info) {
  const std::optional<std::uint64_t> start = processes_.start_time(info.process_id);
  if (!start) return true;
  const auto [entry, first_time] = seen_.try_emplace(info.server, Seen{info.process_id, *start});
  if (entry->second.process_id != info.process_id) entry->second = {info.process_id, *start};
  return entry->second.start_time != *start;
}

void Reaper::reap(const vmsrs_server_info& info) {
  const vmsrs_status status = channel_.reap(info.server, info.process_id);
  if (status == VMSRS_OK) {
    spdlog::info("reaped server {}: its process {} is dead", channel::server_name(info),
                 info.process_id);
    seen_.erase(info.server);
  } else if (status != VMSRS_WRONG_STATE) {  // that: attached anew meanwhile
    spdlog::error("reaping server {} (process {}): {}", channel::server_name(info), info.process_id,
                  channel::status_name(status));
  }
}

}  // namespace vmsrs::daemon
