// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel.hpp"
#include "daemon/clock.hpp"
#include "daemon/event_ledger.hpp"
#include "store/event_feed.hpp"
#include "store/event_store.hpp"

namespace vmsrs::daemon {

// Takes events over into the store: from the ring of the engine, which is told that it may forget
// them only after they are safe on the disk; from the hypervisor's list of ends of its guest; and
// those of the daemon itself. Killed at any instant it loses none of the ring's and doubles none.
// While the store cannot be written nothing is acknowledged, and it tries again. Any thread.
class EventRecorder {
 public:
  struct Settings {
    std::string store;            // file
    std::uint32_t keep_days = 0;  // 0 = for ever
    std::uint64_t keep_bytes = 0;
    std::string dump_folder;  // where servers leave dumps; empty = nowhere
  };
  // Gets each event's document, once it is stored.
  using Journal = std::function<void(const nlohmann::ordered_json& event)>;

  EventRecorder(channel::Channel& channel, Clock clock, Settings settings, EventLedger& ledger,
                store::EventFeed& feed, Journal journal);
  ~EventRecorder() { stop(); }
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  // Passes by itself from now on, on a thread of its own, until stop(), which ends with a last one.
  void start();
  void stop();
  // Takes over what is there now. False: the store cannot be written.
  bool pass();
  void change_limits(std::uint32_t keep_days, std::uint64_t keep_bytes);
  // What a check has found: stored before this returns, unless the store cannot be written; then as
  // soon as it can.
  void record_check(const vmsrs_check_report& report,
                    const std::vector<vmsrs_server_info>& servers);

 private:
  void run();
  [[nodiscard]] bool pass_locked();
  [[nodiscard]] std::optional<store::Problem> take_over();
  [[nodiscard]] std::optional<store::Problem> take_own();
  [[nodiscard]] std::optional<store::Problem> take_engine();
  [[nodiscard]] std::optional<store::Problem> take_guest();
  [[nodiscard]] std::optional<store::Problem> retain();
  [[nodiscard]] std::optional<store::Problem> store_events(std::vector<store::Event> events,
                                                           const std::string& boot,
                                                           store::Source source,
                                                           const store::Cursor& cursor);
  void note_gap(const char* source, const std::string& boot, std::uint64_t wanted,
                std::uint64_t first);
  [[nodiscard]] vmsrs_status read_batch(std::vector<vmsrs_event>& batch);
  void add_own(store::Event event);
  void look_at_clock();
  void tell(const std::optional<store::Problem>& problem);
  void tell_status(vmsrs_status status);
  [[nodiscard]] double boot_time();

  channel::Channel& channel_;
  Clock clock_;
  Settings settings_;
  EventLedger& ledger_;
  store::EventFeed& feed_;
  Journal journal_;

  std::mutex mutex_;  // everything below, but for the thread
  store::EventStore store_;
  std::vector<store::Event> own_;  // of the daemon, not stored yet
  std::string told_gap_;           // the last one
  std::uint64_t guest_next_ = 0;   // number of the next end of the guest
  std::uint64_t guest_seen_ = 0;   // the same; all before were stored, or told as lost
  bool stored_any_ = false;        // in this pass
  std::string told_;               // the problem that the log has been told of; empty = none
  vmsrs_status told_status_ = VMSRS_OK;
  double try_again_ = 0;  // steady time: not before
  double retain_again_ = 0;
  std::optional<double> clock_offset_;  // Unix time at the beginning of steady time
  std::optional<double> jumped_;        // steady time of the clock's last jump

  std::mutex thread_mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace vmsrs::daemon
