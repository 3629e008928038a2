// SPDX-License-Identifier: Apache-2.0
#include "daemon/storage_watch.hpp"

#include <spdlog/spdlog.h>

#include <vector>

#include "channel/lists.hpp"
#include "channel/names.hpp"

namespace vmsrs::daemon {

void StorageWatch::pass() {
  std::vector<vmsrs_server_info> servers;
  if (channel::read_servers(channel_, servers) != VMSRS_OK) return;  // the reaper says so
  for (const vmsrs_server_info& info : servers) {
    std::uint64_t& told = told_[info.server];
    if (info.unprotected_store_count == told) continue;
    spdlog::warn(
        "server {} runs unprotected: {} more stores ({} since boot) went on without recovery data: "
        "raise its storage_quota or the recovery storage",
        channel::server_name(info), info.unprotected_store_count - told,
        info.unprotected_store_count);
    told = info.unprotected_store_count;
  }
}

}  // namespace vmsrs::daemon
