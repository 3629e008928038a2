// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

namespace vmsrs::daemon {

// What the checks of this daemon's life have found: written by the API, read by the metrics and by
// status. Any thread.
class CheckLedger {
 public:
  struct Entry {
    vmsrs_check_report report{};
    double unix_time = 0;
  };
  using Totals = std::array<std::uint64_t, VMSRS_CHECK_COUNT>;

  void record(const vmsrs_check_report& report, double unix_time) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < totals_.size(); ++i) {
      const vmsrs_check_result& result = report.results[i];
      if (result.verdict != VMSRS_VERDICT_VIOLATED) continue;
      totals_[i] += result.violation_count == 0 ? 1 : result.violation_count;
    }
    last_ = Entry{report, unix_time};
  }

  [[nodiscard]] std::optional<Entry> last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  [[nodiscard]] Totals totals() const {
    const std::lock_guard lock(mutex_);
    return totals_;
  }

 private:
  mutable std::mutex mutex_;
  Totals totals_{};
  std::optional<Entry> last_;
};

}  // namespace vmsrs::daemon
