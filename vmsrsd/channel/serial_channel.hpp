// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

#include "channel/channel.hpp"

namespace vmsrs::channel {

// One lock around every call of another channel: any number of threads may share it, and none holds
// it while it waits for something else than the hypervisor.
class SerialChannel final : public Channel {
 public:
  explicit SerialChannel(Channel& below) : below_(below) {}

  vmsrs_status version(Version& version) override {
    const std::lock_guard lock(mutex_);
    return below_.version(version);
  }
  vmsrs_status stats(vmsrs_stats& stats) override {
    const std::lock_guard lock(mutex_);
    return below_.stats(stats);
  }
  vmsrs_status exits(std::uint32_t cpu, vmsrs_exits& exits) override {
    const std::lock_guard lock(mutex_);
    return below_.exits(cpu, exits);
  }
  vmsrs_status log(std::uint64_t cursor, std::span<vmsrs_log_line> lines, LogPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.log(cursor, lines, page);
  }
  vmsrs_status guest_ends(std::uint64_t cursor, std::span<vmsrs_guest_end> ends,
                          LogPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.guest_ends(cursor, ends, page);
  }
  vmsrs_status events(std::uint64_t cursor, std::span<vmsrs_event> events, LogPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.events(cursor, events, page);
  }
  vmsrs_status acknowledge_events(std::uint64_t sequence) override {
    const std::lock_guard lock(mutex_);
    return below_.acknowledge_events(sequence);
  }
  vmsrs_status guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                         vmsrs_guest_cpu& state) override {
    const std::lock_guard lock(mutex_);
    return below_.guest_cpu(sequence, cpu, state);
  }
  vmsrs_status announce_reset(bool wanted) override {
    const std::lock_guard lock(mutex_);
    return below_.announce_reset(wanted);
  }
  vmsrs_status memory(std::vector<vmsrs_memory_range>& ranges) override {
    const std::lock_guard lock(mutex_);
    return below_.memory(ranges);
  }
  vmsrs_status server(std::uint32_t index, vmsrs_server_info& info) override {
    const std::lock_guard lock(mutex_);
    return below_.server(index, info);
  }
  vmsrs_status work(std::uint32_t index, vmsrs_server_work& work) override {
    const std::lock_guard lock(mutex_);
    return below_.work(index, work);
  }
  vmsrs_status users(std::uint32_t server, std::uint64_t cursor, std::span<vmsrs_user_info> records,
                     ListPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.users(server, cursor, records, page);
  }
  vmsrs_status regions(std::uint32_t server, std::uint64_t cursor,
                       std::span<vmsrs_region_info> records, ListPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.regions(server, cursor, records, page);
  }
  vmsrs_status region_map(std::uint32_t server, std::uint32_t region, bool anew,
                          vmsrs_region_map& map) override {
    const std::lock_guard lock(mutex_);
    return below_.region_map(server, region, anew, map);
  }
  vmsrs_status records(std::uint32_t server, std::uint64_t region, std::uint64_t cursor,
                       std::span<vmsrs_record_info> records, ListPage& page) override {
    const std::lock_guard lock(mutex_);
    return below_.records(server, region, cursor, records, page);
  }
  vmsrs_status label(const vmsrs_user_info& user, UserLabel& label) override {
    const std::lock_guard lock(mutex_);
    return below_.label(user, label);
  }
  vmsrs_status check(bool start_anew, vmsrs_check_report& report) override {
    const std::lock_guard lock(mutex_);
    return below_.check(start_anew, report);
  }
  vmsrs_status define(const vmsrs_server_definition& definition, std::uint32_t& server) override {
    const std::lock_guard lock(mutex_);
    return below_.define(definition, server);
  }
  vmsrs_status collect(std::uint32_t server, std::uint64_t slot,
                       std::uint64_t& records_left) override {
    const std::lock_guard lock(mutex_);
    return below_.collect(server, slot, records_left);
  }
  vmsrs_status scrub(std::uint64_t server, std::uint64_t bytes, ScrubProgress& progress) override {
    const std::lock_guard lock(mutex_);
    return below_.scrub(server, bytes, progress);
  }
  vmsrs_status suppress(std::uint32_t server, std::uint32_t slot,
                        std::uint64_t generation) override {
    const std::lock_guard lock(mutex_);
    return below_.suppress(server, slot, generation);
  }
  vmsrs_status contain(std::uint32_t server, std::uint32_t mode) override {
    const std::lock_guard lock(mutex_);
    return below_.contain(server, mode);
  }
  vmsrs_status change_secret(const std::array<std::uint8_t, VMSRS_HASH_BYTES>& hash) override {
    const std::lock_guard lock(mutex_);
    return below_.change_secret(hash);
  }
  vmsrs_status reap(std::uint32_t server, std::uint32_t process_id) override {
    const std::lock_guard lock(mutex_);
    return below_.reap(server, process_id);
  }

 private:
  Channel& below_;
  std::mutex mutex_;
};

}  // namespace vmsrs::channel
