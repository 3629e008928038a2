// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "channel/lists.hpp"

namespace vmsrs::daemon {

// How many lines the hypervisor has written to its log since its start. Any thread.
class LogLedger {
 public:
  struct Counts {
    std::array<std::uint64_t, 3> by_level{};  // enum vmsrs_log_level
    std::uint64_t unseen = 0;                 // overwritten before this daemon looked
  };

  // Reads what has come since it was last asked.
  [[nodiscard]] vmsrs_status count(channel::Channel& channel, Counts& counts) {
    const std::lock_guard lock(mutex_);
    std::vector<vmsrs_log_line> lines;
    std::uint64_t next = next_;
    const vmsrs_status status = channel::read_log(channel, next_, lines, next);
    if (status != VMSRS_OK) return status;
    for (const vmsrs_log_line& line : lines) {
      counts_.unseen += line.sequence - next_;
      next_ = line.sequence + 1;
      ++counts_.by_level[std::min<std::size_t>(line.level, VMSRS_LOG_ERROR)];
    }
    counts = counts_;
    return VMSRS_OK;
  }

 private:
  std::mutex mutex_;
  std::uint64_t next_ = 1;
  Counts counts_;
};

}  // namespace vmsrs::daemon
