// SPDX-License-Identifier: Apache-2.0
#include "page/history.hpp"

#include <numeric>

#include "channel/lists.hpp"

namespace vmsrs::page {

void History::pass(channel::Channel& channel) {
  vmsrs_stats stats;
  std::vector<vmsrs_server_info> servers;
  if (channel.stats(stats) != VMSRS_OK || read_servers(channel, servers) != VMSRS_OK) return;
  Step now;
  now.faults = std::accumulate(std::begin(stats.faults), std::end(stats.faults), std::uint64_t{0});
  for (const vmsrs_server_info& info : servers) {
    now.restores += info.demand_restore_count + info.crash_restore_count +
                    info.collect_restore_count + info.sweep_restore_count;
    now.suppressed_users += info.crashed_users;
  }
  const std::lock_guard lock(mutex_);
  // Counters that have gone back are those of another hypervisor, which began at 0.
  const auto rise = [](std::uint64_t before, std::uint64_t value) {
    return value < before ? value : value - before;
  };
  if (known_)
    steps_.push_back(
        {rise(faults_, now.faults), rise(restores_, now.restores), now.suppressed_users});
  if (steps_.size() > kSteps) steps_.pop_front();
  faults_ = now.faults;
  restores_ = now.restores;
  known_ = true;
}

std::vector<History::Step> History::steps() const {
  const std::lock_guard lock(mutex_);
  return {steps_.begin(), steps_.end()};
}

}  // namespace vmsrs::page
