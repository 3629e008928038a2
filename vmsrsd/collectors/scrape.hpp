// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "channel/channel.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/clock.hpp"
#include "daemon/event_ledger.hpp"
#include "daemon/log_ledger.hpp"

namespace vmsrs::collectors {

// What one scrape reads from the hypervisor: each thing at most once, when the first collector asks
// for it, so that all collectors of a scrape tell of the same reading. Null: it could not be read.
class Scrape {
 public:
  Scrape(channel::Channel& channel, const daemon::CheckLedger& checks,
         const daemon::EventLedger& events, daemon::LogLedger& log, const daemon::Clock& clock)
      : channel_(channel), checks_(checks), events_(events), log_(log), clock_(clock) {}

  [[nodiscard]] const vmsrs_stats* stats();
  [[nodiscard]] const std::vector<vmsrs_server_info>* servers();
  // Of the same servers; empty: this hypervisor does not count it.
  [[nodiscard]] const std::vector<vmsrs_server_work>* works();
  [[nodiscard]] const std::vector<vmsrs_exits>* exits();
  [[nodiscard]] const daemon::LogLedger::Counts* log_lines();
  [[nodiscard]] const std::vector<vmsrs_guest_end>* guest_ends();  // those that are kept
  [[nodiscard]] const daemon::CheckLedger& checks() const { return checks_; }
  [[nodiscard]] const daemon::EventLedger& events() const { return events_; }
  [[nodiscard]] const daemon::Clock& clock() const { return clock_; }

 private:
  template <typename T>
  struct Reading {
    vmsrs_status status = VMSRS_OK;
    T value{};
  };

  channel::Channel& channel_;
  const daemon::CheckLedger& checks_;
  const daemon::EventLedger& events_;
  daemon::LogLedger& log_;
  const daemon::Clock& clock_;
  std::optional<Reading<vmsrs_stats>> stats_;
  std::optional<Reading<std::vector<vmsrs_server_info>>> servers_;
  std::optional<Reading<std::vector<vmsrs_server_work>>> works_;
  std::optional<Reading<std::vector<vmsrs_exits>>> exits_;
  std::optional<Reading<daemon::LogLedger::Counts>> log_lines_;
  std::optional<Reading<std::vector<vmsrs_guest_end>>> guest_ends_;
};

}  // namespace vmsrs::collectors
