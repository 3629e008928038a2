// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "daemon/clock.hpp"

namespace vmsrs::test {

// A hypervisor of fixed numbers: two processors, the servers "shop" (attached, in suppression) and
// "roster" (never attached). Put a SerialChannel around it for more than one thread, and change it
// by change() while others use it.
class FakeChannel final : public channel::Channel {
 public:
  FakeChannel();

  template <typename Change>
  void change(Change change_it) {
    const std::lock_guard guard(lock_);
    change_it(*this);
  }

  vmsrs_stats stats_now{};
  std::vector<vmsrs_server_info> servers_now;
  std::vector<vmsrs_server_work> works_now;  // of the same servers; empty: the call is unknown
  std::map<std::uint32_t, std::vector<vmsrs_user_info>> users_now;
  std::map<std::uint32_t, std::string> labels_now;                      // by slot
  std::map<std::uint32_t, std::vector<vmsrs_region_info>> regions_now;  // by server, as the next
  std::map<std::uint32_t, std::vector<vmsrs_record_info>> records_now;
  vmsrs_region_map map_now{};  // of every region
  std::vector<vmsrs_exits> exits_now;
  std::vector<vmsrs_log_line> log_now;          // with rising numbers
  std::vector<vmsrs_guest_end> guest_ends_now;  // with rising numbers
  std::vector<vmsrs_event> events_now;          // the same; those that are acknowledged go
  vmsrs_status events_status = VMSRS_OK;        // of both calls
  std::vector<vmsrs_memory_range> memory_now;
  vmsrs_check_report report_now{};

  int checks_pending = 0;       // so many more check calls answer VMSRS_AGAIN
  int collections_pending = 0;  // the same for collect
  int scrubs_pending = 0;       // the same for scrub
  int maps_pending = 0;         // the same for region_map
  vmsrs_status scrub_status = VMSRS_OK;
  std::size_t users_in_answer = 2;
  vmsrs_status stats_status = VMSRS_OK;
  vmsrs_status exits_status = VMSRS_OK;
  vmsrs_status announce_status = VMSRS_OK;
  std::vector<std::string> calls;                    // that change something, in order
  std::vector<vmsrs_server_definition> definitions;  // that were pushed

  vmsrs_status version(channel::Version& version) override;
  vmsrs_status stats(vmsrs_stats& stats) override;
  vmsrs_status exits(std::uint32_t cpu, vmsrs_exits& exits) override;
  vmsrs_status log(std::uint64_t cursor, std::span<vmsrs_log_line> lines,
                   channel::LogPage& page) override;
  vmsrs_status guest_ends(std::uint64_t cursor, std::span<vmsrs_guest_end> ends,
                          channel::LogPage& page) override;
  vmsrs_status events(std::uint64_t cursor, std::span<vmsrs_event> events,
                      channel::LogPage& page) override;
  vmsrs_status acknowledge_events(std::uint64_t sequence) override;
  vmsrs_status guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                         vmsrs_guest_cpu& state) override;
  vmsrs_status announce_reset(bool wanted) override;
  vmsrs_status memory(std::vector<vmsrs_memory_range>& ranges) override;
  vmsrs_status server(std::uint32_t index, vmsrs_server_info& info) override;
  vmsrs_status work(std::uint32_t index, vmsrs_server_work& work) override;
  vmsrs_status users(std::uint32_t server, std::uint64_t cursor, std::span<vmsrs_user_info> records,
                     channel::ListPage& page) override;
  vmsrs_status label(const vmsrs_user_info& user, channel::UserLabel& label) override;
  vmsrs_status regions(std::uint32_t server, std::uint64_t cursor,
                       std::span<vmsrs_region_info> records, channel::ListPage& page) override;
  vmsrs_status region_map(std::uint32_t server, std::uint32_t region, bool anew,
                          vmsrs_region_map& map) override;
  vmsrs_status records(std::uint32_t server, std::uint64_t region, std::uint64_t cursor,
                       std::span<vmsrs_record_info> records, channel::ListPage& page) override;
  vmsrs_status check(bool start_anew, vmsrs_check_report& report) override;
  vmsrs_status define(const vmsrs_server_definition& definition, std::uint32_t& server) override;
  vmsrs_status collect(std::uint32_t server, std::uint64_t slot,
                       std::uint64_t& records_left) override;
  vmsrs_status scrub(std::uint64_t server, std::uint64_t bytes,
                     channel::ScrubProgress& progress) override;
  vmsrs_status suppress(std::uint32_t server, std::uint32_t slot,
                        std::uint64_t generation) override;
  vmsrs_status contain(std::uint32_t server, std::uint32_t mode) override;
  vmsrs_status change_secret(const std::array<std::uint8_t, VMSRS_HASH_BYTES>& hash) override;
  vmsrs_status reap(std::uint32_t server, std::uint32_t process_id) override;

 private:
  std::mutex lock_;
};

// Always 2023-11-14 22:13:20 UTC.
[[nodiscard]] daemon::Clock fixed_clock();

}  // namespace vmsrs::test
