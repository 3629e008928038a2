// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

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
  vmsrs_check_result check_hidden() const override { return hidden_; }

  void advance_ns(std::uint64_t ns) { offset_ns_ += ns; }
  // Lets a test supply the window's memory itself; nullptr: the machine has no such window.
  void set_window(std::uint32_t server, vmsrs_window* window) { windows_[server] = window; }
  // Called each time the engine is about to write to a window: what a server's thread would see
  // just then.
  void set_window_observer(std::function<void()> observer) { observer_ = std::move(observer); }
  // What a processor does that waits for a lock.
  void set_relaxer(std::function<void()> relaxer) { relaxer_ = std::move(relaxer); }
  // What check_hidden shall say.
  void set_hidden_result(const vmsrs_check_result& result) { hidden_ = result; }

 private:
  std::unique_ptr<std::array<vmsrs_window, VMSRS_MAX_SERVERS>> memory_;
  std::array<vmsrs_window*, VMSRS_MAX_SERVERS> windows_{};
  std::atomic<std::uint64_t> offset_ns_{0};
  std::atomic<std::uint64_t> random_{0x9e3779b97f4a7c15ull};
  vmsrs_check_result hidden_{};
  std::function<void()> observer_;
  std::function<void()> relaxer_;
};

}  // namespace vmsrs::test
