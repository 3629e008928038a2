// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "recovery/platform.hpp"

namespace vmsrs::test {

// A machine made of ordinary memory: windows that anybody may write, the steady clock (which a test
// can push forward), no isolation at all. Every member may be called by any thread; the setters
// only before the threads start.
class HostPlatform final : public recovery::Platform {
 public:
  HostPlatform();

  std::uint32_t isolation() const override { return VMSRS_ISOLATION_NONE; }
  std::uint64_t now_ns() const override;
  std::uint64_t cycles() const override { return now_ns(); }
  std::uint64_t random() override;
  void relax() const override;
  vmsrs_window* window(std::uint32_t server) override;
  std::uint32_t cpu_count() const override { return 2; }
  std::uint64_t hidden_bytes() const override { return 64u << 20; }
  std::uint64_t hidden_access_count() const override { return 0; }
  std::uint64_t window_write_count() const override { return 0; }
  bool exits(std::uint32_t cpu, vmsrs_exits& out) const override;
  bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const override;

  std::uint64_t devices() const override { return devices_; }
  std::uint64_t cycles_per_second() const override { return 1'000'000'000; }
  std::uint32_t log_lines(std::uint64_t& cursor, vmsrs_log_line* out, std::uint32_t room) override;
  std::uint32_t memory_ranges(vmsrs_memory_range* out) const override;
  std::uint32_t guest_start() const override {
    return static_cast<std::uint32_t>(guest_ends_.size()) + 1;
  }
  std::uint32_t guest_watch() const override { return VMSRS_WATCH_ENDS | VMSRS_WATCH_HANG; }
  std::uint32_t guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out,
                           std::uint32_t room) override;
  bool guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu,
                     vmsrs_guest_cpu& out) const override;
  bool announce_reset(bool wanted) override { return reset_is_announced_ = wanted, true; }
  bool reset_is_announced() const { return reset_is_announced_; }
  // One more record for guest_ends, numbered from 1 on; each start ended in one.
  void add_guest_end(std::uint32_t kind);

  void hold_others() override;
  void release_others() override;
  recovery::HoldStatistics holds() const override { return {hold_count_, hold_cycles_}; }

  void advance_ns(std::uint64_t ns) { offset_ns_ += ns; }
  // Lets a test supply the window's memory itself; nullptr: the machine has no such window.
  void set_window(std::uint32_t server, vmsrs_window* window) { windows_[server] = window; }
  // Called each time the engine is about to write to a window: what a server's thread would see
  // just then.
  void set_window_observer(std::function<void()> observer) { observer_ = std::move(observer); }
  // What a processor does that waits for a lock.
  void set_relaxer(std::function<void()> relaxer) { relaxer_ = std::move(relaxer); }
  // Called when others are held (true) and just before they are released (false).
  void set_hold_observer(std::function<void(bool)> observer) {
    hold_observer_ = std::move(observer);
  }
  void set_devices(vmsrs_devices devices) { devices_ = devices; }
  // What log_lines shall give: numbered from `first` on, the last at `first + count - 1`.
  void set_log(std::uint64_t first, std::uint64_t count) { log_first_ = first, log_count_ = count; }
  // What check_hidden shall say, after so many pieces.
  void set_hidden_result(const vmsrs_check_result& result, std::uint64_t pieces = 1) {
    hidden_ = result;
    hidden_pieces_ = pieces;
  }

 private:
  std::unique_ptr<std::array<vmsrs_window, VMSRS_MAX_SERVERS>> memory_;
  std::array<vmsrs_window*, VMSRS_MAX_SERVERS> windows_{};
  std::atomic<std::uint64_t> offset_ns_{0};
  std::atomic<std::uint64_t> random_{0x9e3779b97f4a7c15ull};
  vmsrs_check_result hidden_{};
  vmsrs_devices devices_ = VMSRS_DEVICES_UNKNOWN;
  std::uint64_t hidden_pieces_ = 1;
  std::uint64_t log_first_ = 1, log_count_ = 0;
  std::vector<vmsrs_guest_end> guest_ends_;
  std::atomic<bool> reset_is_announced_{false};
  std::function<void()> observer_;
  std::function<void()> relaxer_;
  std::function<void(bool)> hold_observer_;
  std::atomic<std::uint64_t> hold_count_{0}, hold_cycles_{0};
};

}  // namespace vmsrs::test
