// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/answer.hpp"
#include "channel/channel.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/clock.hpp"

namespace vmsrs::api {

struct CollectRequest {
  std::optional<std::string> server;  // absent: every server
  std::optional<std::uint32_t> slot;  // absent: every crashed user
  std::chrono::milliseconds timeout{30000};
};

struct ScrubRequest {
  std::optional<std::string> server;  // absent: every attached server
  std::chrono::milliseconds timeout{30000};
};

// What the API does, without HTTP. Any thread; waits hold no lock but that of the thing waited for.
class Service {
 public:
  Service(channel::Channel& channel, daemon::CheckLedger& ledger, daemon::Clock clock,
          std::chrono::milliseconds check_timeout)
      : channel_(channel),
        ledger_(ledger),
        clock_(std::move(clock)),
        check_timeout_(check_timeout) {}

  [[nodiscard]] Answer status();
  [[nodiscard]] Answer servers();
  // `states`: names of user states; empty = all.
  [[nodiscard]] Answer users(const std::vector<std::string>& states);
  [[nodiscard]] Answer collect(const CollectRequest& request);
  [[nodiscard]] Answer scrub(const ScrubRequest& request);
  // `mode`: enum vmsrs_server_containment.
  [[nodiscard]] Answer contain(const std::string& server, std::uint32_t mode);
  [[nodiscard]] Answer check(std::optional<std::chrono::milliseconds> timeout);
  [[nodiscard]] Answer exits();
  // Of the hypervisor's log what comes from number `since` on, as far as it is kept.
  [[nodiscard]] Answer log(std::uint64_t since);
  [[nodiscard]] Answer memory();
  // What happened to the guest, from record `since` on, as far as it is kept.
  [[nodiscard]] Answer events(std::uint64_t since);
  [[nodiscard]] Answer announce_reset(bool wanted);
  [[nodiscard]] Answer version();
  [[nodiscard]] Answer stats();

  // Waits end at once, with what is known then: the daemon is being stopped.
  void stop() { stopping_ = true; }

 private:
  void pause_before(std::chrono::steady_clock::time_point deadline) const;
  [[nodiscard]] bool is_over(std::chrono::steady_clock::time_point deadline) const;
  // The servers of that name; nothing and `error` if there are none.
  [[nodiscard]] std::vector<vmsrs_server_info> servers_called(
      const std::optional<std::string>& name, std::optional<Answer>& error);
  [[nodiscard]] std::optional<Json> scrub_one(const vmsrs_server_info& info,
                                              std::chrono::steady_clock::time_point deadline,
                                              vmsrs_status& status);
  vmsrs_status run_check(std::chrono::steady_clock::time_point deadline,
                         vmsrs_check_report& report);

  channel::Channel& channel_;
  daemon::CheckLedger& ledger_;
  daemon::Clock clock_;
  std::chrono::milliseconds check_timeout_;
  std::mutex check_mutex_;  // one check at a time: a second one would start the first anew
  std::atomic<bool> stopping_ = false;
};

}  // namespace vmsrs::api
