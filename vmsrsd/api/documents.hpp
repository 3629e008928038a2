// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "api/answer.hpp"
#include "channel/channel.hpp"
#include "daemon/check_ledger.hpp"

// The documents of the API, field by field; docs/api.md explains them, tests keep their names.
namespace vmsrs::api {

[[nodiscard]] Json faults_document(const std::uint64_t (&faults)[VMSRS_FAULT_KIND_COUNT]);
[[nodiscard]] Json server_document(const vmsrs_server_info& info);
// What the servers' regions take: of each server, all of its regions together.
[[nodiscard]] Json regions_document(const std::vector<vmsrs_server_info>& servers);
[[nodiscard]] Json region_document(const vmsrs_region_info& info);
// `complete`: the look that was asked for has ended.
[[nodiscard]] Json map_document(const vmsrs_region_map& map, bool complete);
// `values`: with what was written, and what was there before.
[[nodiscard]] Json record_document(const vmsrs_record_info& info, bool values);
[[nodiscard]] Json user_document(const vmsrs_user_info& info, const std::string& server,
                                 const channel::UserLabel& label);
[[nodiscard]] Json exits_document(const std::vector<vmsrs_exits>& cpus);
[[nodiscard]] Json log_document(const std::vector<vmsrs_log_line>& lines);
// What an event of type guest_end has beside the fields of all events.
[[nodiscard]] Json guest_end_document(const vmsrs_guest_end& end,
                                      const std::vector<vmsrs_guest_cpu>& cpus);
[[nodiscard]] Json memory_document(const std::vector<vmsrs_memory_range>& ranges);
// Which ends of the guest are recognised: bits of enum vmsrs_guest_watch.
[[nodiscard]] Json watch_document(std::uint32_t bits);
[[nodiscard]] Json host_document(const vmsrs_stats& stats);
[[nodiscard]] Json checks_document(const vmsrs_check_report& report,
                                   const std::vector<vmsrs_server_info>& servers);
[[nodiscard]] Json last_check_document(const std::optional<daemon::CheckLedger::Entry>& last);
// The whole host on one screen: sums over the servers.
[[nodiscard]] Json status_document(const vmsrs_stats& stats,
                                   const std::vector<vmsrs_server_info>& servers);
[[nodiscard]] bool in_suppression(const vmsrs_server_info& info);

}  // namespace vmsrs::api
