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
[[nodiscard]] Json user_document(const vmsrs_user_info& info, const std::string& server,
                                 const channel::UserLabel& label);
[[nodiscard]] Json exits_document(const std::vector<vmsrs_exits>& cpus);
[[nodiscard]] Json log_document(const std::vector<vmsrs_log_line>& lines);
[[nodiscard]] Json memory_document(const std::vector<vmsrs_memory_range>& ranges);
[[nodiscard]] Json host_document(const vmsrs_stats& stats);
[[nodiscard]] Json checks_document(const vmsrs_check_report& report,
                                   const std::vector<vmsrs_server_info>& servers);
[[nodiscard]] Json last_check_document(const std::optional<daemon::CheckLedger::Entry>& last);
// The whole host on one screen: sums over the servers.
[[nodiscard]] Json status_document(const vmsrs_stats& stats,
                                   const std::vector<vmsrs_server_info>& servers);
[[nodiscard]] bool in_suppression(const vmsrs_server_info& info);

}  // namespace vmsrs::api
