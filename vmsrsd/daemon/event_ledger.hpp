// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace vmsrs::daemon {

// How the taking over of events goes, for the metrics. Any thread.
class EventLedger {
 public:
  static constexpr std::array<double, 8> kBuckets = {0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60};

  struct Counts {
    std::map<std::string, std::uint64_t> stored;  // by this daemon, by type
    std::uint64_t lost = 0;      // that neither the ring nor the store has: found by the daemon
    std::uint64_t repeated = 0;  // that the store had already: 0, unless something is wrong
    std::uint64_t kept = 0;      // in the store
    std::uint64_t bytes = 0;     // of the store's files
    double last_drain = 0;       // Unix time of the last pass without a problem; 0 = none
    bool writable = false;
    std::array<std::uint64_t, kBuckets.size() + 1> durations{};  // of passes that stored something
    double duration_sum = 0;
  };

  template <typename Change>
  void change(Change change_it) {
    const std::lock_guard lock(mutex_);
    change_it(counts_);
  }
  [[nodiscard]] Counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  mutable std::mutex mutex_;
  Counts counts_;
};

}  // namespace vmsrs::daemon
