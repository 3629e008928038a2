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

const std::vector<vmsrs_server_work>* Scrape::works() {
  const auto* const of = servers();
  if (of == nullptr) return nullptr;
  if (!works_) {
    works_.emplace();
    works_->status = channel::read_works(channel_, of->size(), works_->value);
  }
  return works_->status == VMSRS_OK ? &works_->value : nullptr;
}

const daemon::LogLedger::Counts* Scrape::log_lines() {
  if (!log_lines_) {
    log_lines_.emplace();
    log_lines_->status = log_.count(channel_, log_lines_->value);
  }
  return log_lines_->status == VMSRS_OK ? &log_lines_->value : nullptr;
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
