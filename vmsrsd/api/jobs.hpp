// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "api/answer.hpp"
#include "daemon/clock.hpp"

namespace vmsrs::api {

// Requests that go on after they were answered, each in a thread of its own. Any thread.
class Jobs {
 public:
  static constexpr std::size_t kMostRunning = 8;
  static constexpr std::size_t kMostKept = 64;  // of those that have ended; the oldest go

  explicit Jobs(daemon::Clock clock) : clock_(std::move(clock)) {}
  // Waits for those that are running: whoever they wait for has to be told to stop first.
  ~Jobs();
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  // The number of the new job; nothing if too many are running. `work` throws nothing.
  [[nodiscard]] std::optional<std::uint64_t> start(std::string kind, std::function<Answer()> work);
  [[nodiscard]] Answer list() const;
  [[nodiscard]] Answer get(std::uint64_t number) const;

 private:
  struct Job {
    std::uint64_t number;
    std::string kind;
    double began;  // Unix seconds
    std::optional<double> ended;
    std::optional<Answer> outcome;
    std::thread thread;
  };
  [[nodiscard]] static Json document_of(const Job& job);
  void forget_oldest();

  const daemon::Clock clock_;
  mutable std::mutex mutex_;
  std::list<Job> jobs_;  // by number
  std::uint64_t next_ = 1;
  std::size_t running_ = 0;
};

}  // namespace vmsrs::api
