// SPDX-License-Identifier: Apache-2.0
#include "collectors/scrape.hpp"

#include "channel/lists.hpp"

namespace vmsrs::collectors {

const vmsrs_stats* Scrape::stats() {
  if (!stats_) {
    stats_.emplace();
    stats_->status = channel_.stats(stats_->value);
  }
  return stats_->status == VMSRS_OK ? &stats_->value : nullptr;
}

const std::vector<vmsrs_server_info>* Scrape::servers() {
  if (!servers_) {
    servers_.emplace();
    servers_->status = channel::read_servers(channel_, servers_->value);
  }
  return servers_->status == VMSRS_OK ? &servers_->value : nullptr;
}

const std::vector<vmsrs_exits>* Scrape::exits() {
  if (!exits_) {
    exits_.emplace();
    exits_->status = channel::read_exits(channel_, exits_->value);
  }
  return exits_->status == VMSRS_OK ? &exits_->value : nullptr;
}

}  // namespace vmsrs::collectors
