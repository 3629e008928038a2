// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace vmsrs::store {

// Tells those who follow the events that there are new ones. Any thread.
class EventFeed {
 public:
  // Something has been stored.
  void publish() {
    const std::lock_guard lock(mutex_);
    ++round_;
    changed_.notify_all();
  }
  // Nobody waits any more, from now on.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }
  [[nodiscard]] std::uint64_t round() const {
    const std::lock_guard lock(mutex_);
    return round_;
  }
  // Until something has been stored after `round`, at most for `time`.
  void wait(std::uint64_t round, std::chrono::milliseconds time) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [&] { return stopping_ || round_ != round; });
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::uint64_t round_ = 0;
  bool stopping_ = false;
};

}  // namespace vmsrs::store
