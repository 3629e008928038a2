// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "recovery/platform.hpp"

namespace vmsrs::svm {

// The engine's Platform on the machine: every answer comes from `machine()` and `processors`.
class SvmPlatform final : public recovery::Platform {
 public:
  // Once, at boot: where zero is on the clock.
  void start_clock();

  std::uint32_t isolation() const override;
  std::uint64_t now_ns() const override;
  std::uint64_t cycles() const override;
  std::uint64_t random() override;
  void relax() const override;
  vmsrs_window* window(std::uint32_t server) override;
  std::uint32_t cpu_count() const override;
  std::uint64_t hidden_bytes() const override;
  std::uint64_t hidden_access_count() const override;
  std::uint64_t window_write_count() const override;
  bool exits(std::uint32_t cpu, vmsrs_exits& out) const override;
  bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const override;
  std::uint64_t devices() const override;
  std::uint64_t cycles_per_second() const override;
  std::uint32_t log_lines(std::uint64_t& cursor, vmsrs_log_line* out, std::uint32_t room) override;
  std::uint32_t memory_ranges(vmsrs_memory_range* out) const override;
  std::uint32_t guest_start() const override;
  std::uint32_t guest_watch() const override;
  std::uint32_t guest_ends(std::uint64_t& cursor, vmsrs_guest_end* out,
                           std::uint32_t room) override;
  bool guest_end_cpu(std::uint64_t sequence, std::uint32_t cpu,
                     vmsrs_guest_cpu& out) const override;
  bool announce_reset(bool wanted) override;
  void hold_others() override;
  void release_others() override;
  recovery::HoldStatistics holds() const override;

 private:
  std::uint64_t since_start_ns(std::uint64_t counter) const;

  std::uint64_t begin_tsc_ = 0;
  std::uint64_t ns_per_tick_ = 0;  // fixed point, 32 bits behind the point
  std::atomic<std::uint64_t> hold_count_{0}, hold_cycles_{0};
};

}  // namespace vmsrs::svm
