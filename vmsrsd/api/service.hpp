// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/answer.hpp"
#include "api/jobs.hpp"
#include "channel/channel.hpp"
#include "daemon/check_ledger.hpp"
#include "daemon/clock.hpp"
#include "daemon/processes.hpp"

namespace vmsrs::api {

struct CollectRequest {
  std::optional<std::string> server;  // absent: every server
  std::optional<std::uint32_t> slot;  // absent: every crashed user
  std::chrono::milliseconds timeout{30000};
  bool wait = true;  // false: as a job
};

struct ScrubRequest {
  std::optional<std::string> server;  // absent: every attached server
  std::chrono::milliseconds timeout{30000};
};

// Which users, and in which order. Without `sort` the order is that of servers and slots, and a
// list can be gone through in pieces.
struct UsersRequest {
  std::vector<std::string> states;      // names; empty = all
  std::optional<std::string> server;    // absent: of every server
  std::optional<double> crashed_since;  // Unix time
  std::string sort;                     // one of kUserOrders, with '-' before it: falling
  std::optional<std::size_t> limit;
  std::string cursor;  // the "next" of an earlier answer
};

struct RecordsRequest {
  std::string server;
  std::optional<std::uint32_t> region;  // absent: of every region
  std::optional<std::uint32_t> slot;    // absent: of every user
  std::uint64_t cursor = 0;             // the "next" of an earlier answer
  std::size_t limit = 1000;
  bool values = false;
};

inline const std::vector<std::string> kUserOrders = {"age", "crashed", "records", "restores",
                                                     "suppressed_stores"};

struct ReapRequest {
  std::string server;
  std::optional<std::uint32_t> process;  // absent: those that are dead
  bool force = false;                    // even if it looks alive
};

// What the API does, without HTTP. Any thread; waits hold no lock but that of the thing waited for.
class Service {
 public:
  Service(channel::Channel& channel, daemon::CheckLedger& ledger, daemon::Clock clock,
          std::chrono::milliseconds check_timeout,
          daemon::Processes processes = daemon::Processes())
      : channel_(channel),
        ledger_(ledger),
        clock_(std::move(clock)),
        check_timeout_(check_timeout),
        processes_(std::move(processes)),
        jobs_(clock_) {}
  ~Service() { stop(); }

  [[nodiscard]] Answer status();
  [[nodiscard]] Answer servers();
  [[nodiscard]] Answer server(const std::string& name);
  [[nodiscard]] Answer regions();
  [[nodiscard]] Answer regions_of(const std::string& server);
  // With its map, for which it waits for a thread of the server.
  [[nodiscard]] Answer region(const std::string& server, std::uint32_t number,
                              std::chrono::milliseconds timeout);
  [[nodiscard]] Answer records(const RecordsRequest& request);
  [[nodiscard]] Answer users(const UsersRequest& request);
  // The unfinished user of that slot, or else the last of it that was collected.
  [[nodiscard]] Answer user(const std::string& server, std::uint32_t slot);
  // Declares the user of that slot crashed; with `generation`: if it is that one still.
  [[nodiscard]] Answer suppress(const std::string& server, std::uint32_t slot,
                                std::optional<std::uint64_t> generation);
  [[nodiscard]] Answer reap(const ReapRequest& request);
  [[nodiscard]] Answer collect(const CollectRequest& request);
  [[nodiscard]] Answer jobs() { return jobs_.list(); }
  [[nodiscard]] Answer job(std::uint64_t number) { return jobs_.get(number); }
  [[nodiscard]] Answer scrub(const ScrubRequest& request);
  // `mode`: enum vmsrs_server_containment.
  [[nodiscard]] Answer contain(const std::string& server, std::uint32_t mode);
  [[nodiscard]] Answer check(std::optional<std::chrono::milliseconds> timeout);
  [[nodiscard]] Answer exits();
  // Of the hypervisor's log what comes from number `since` on, as far as it is kept.
  [[nodiscard]] Answer log(std::uint64_t since);
  [[nodiscard]] Answer memory();
  [[nodiscard]] Answer announce_reset(bool wanted);
  [[nodiscard]] Answer version();
  [[nodiscard]] Answer stats();

  // What has changed in vmsrs.yaml, but needs a restart of the daemon: told by status().
  void tell_waiting_keys(std::vector<std::string> keys);
  void change_check_timeout(std::chrono::milliseconds timeout) { check_timeout_ = timeout; }

  // Called with what each check has found, before it is answered; at start only.
  using OnCheck =
      std::function<void(const vmsrs_check_report&, const std::vector<vmsrs_server_info>&)>;
  void on_check(OnCheck on_check) { on_check_ = std::move(on_check); }

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
  // The user of that slot, and its server; nothing and `error` if there is none.
  [[nodiscard]] std::optional<vmsrs_user_info> user_in(const std::string& server,
                                                       std::uint32_t slot,
                                                       std::optional<Answer>& error);
  [[nodiscard]] Json document_of(const vmsrs_user_info& user, const std::string& server);
  vmsrs_status run_check(std::chrono::steady_clock::time_point deadline,
                         vmsrs_check_report& report);

  channel::Channel& channel_;
  daemon::CheckLedger& ledger_;
  daemon::Clock clock_;
  std::atomic<std::chrono::milliseconds> check_timeout_;
  daemon::Processes processes_;
  std::mutex check_mutex_;  // one check at a time: a second one would start the first anew
  std::mutex waiting_mutex_;
  std::vector<std::string> waiting_keys_;
  OnCheck on_check_;
  std::atomic<bool> stopping_ = false;
  Jobs jobs_;  // the last: they use the rest
};

}  // namespace vmsrs::api
