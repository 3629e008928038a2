// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>

namespace vmsrs::svm {

// The last lines of the log, in the hypervisor's image and so out of the guest's reach. A line is
// stamped with the processor's counter, for it may be written before there is a clock. Not
// thread-safe: console.cpp has the lock.
class LogRing {
 public:
  static constexpr std::uint64_t kLines = 512;

  void add(vmsrs_log_level level, std::uint32_t cpu, std::uint64_t counter, const char* text,
           std::size_t length);
  // The line of that number, its `time_ns` still the counter. False: it is overwritten, or yet to
  // come.
  bool read(std::uint64_t sequence, vmsrs_log_line& line) const;
  std::uint64_t newest() const { return written_; }  // 0: none
  std::uint64_t oldest() const { return written_ < kLines ? 1 : written_ - kLines + 1; }

 private:
  std::uint64_t written_ = 0;
  vmsrs_log_line lines_[kLines] = {};
};

}  // namespace vmsrs::svm
