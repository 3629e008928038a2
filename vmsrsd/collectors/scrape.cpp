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

const std::vector<vmsrs_guest_end>* Scrape::guest_ends() {
  if (!guest_ends_) {
    guest_ends_.emplace();
    std::uint64_t next = 0;
    guest_ends_->status = channel::read_guest_ends(channel_, 0, guest_ends_->value, next);
  }
  return guest_ends_->status == VMSRS_OK ? &guest_ends_->value : nullptr;
}

}  // namespace vmsrs::collectors
