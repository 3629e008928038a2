// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "channel/channel.hpp"

namespace vmsrs::page {

// The last hour, in steps: what rose in each, and who was under suppression at its end. Lost when
// the daemon ends: Prometheus keeps what shall be kept. Any thread.
class History {
 public:
  static constexpr std::uint32_t kStepMs = 15000;
  static constexpr std::size_t kSteps = 240;

  struct Step {
    std::uint64_t faults = 0, restores = 0;
    std::uint64_t suppressed_users = 0;
  };

  // To be called at the start, and every kStepMs then. A step in which the channel did not answer
  // is left out, and its rises are the next one's.
  void pass(channel::Channel& channel);
  // The oldest first.
  [[nodiscard]] std::vector<Step> steps() const;

 private:
  mutable std::mutex mutex_;
  bool known_ = false;
  std::uint64_t faults_ = 0, restores_ = 0;  // the counters at the last step
  std::deque<Step> steps_;
};

}  // namespace vmsrs::page
