// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "hosted_process.hpp"

namespace vmsrs::bench {

constexpr std::size_t kGranuleBytes = 64;
constexpr std::size_t kGranuleWords = kGranuleBytes / sizeof(std::uint64_t);

constexpr const char* kServer = "bench";

// Attaches this process as kServer.
void attach_server(const std::string& secret_file);

// vmsrs-hosted on a private socket and the engine's processor, ended with this object.
class HostedBench {
 public:
  explicit HostedBench(const std::string& storage = "64MiB");

  // Attaches this process, which runs on the server's processor from now on.
  void attach();
  // Page-aligned memory that has been touched; `profiled`: under VMSRS, in 64-byte granules.
  static std::uint64_t* memory(std::size_t bytes, bool profiled);

  test::HostedProcess& process() { return *hosted_; }
  std::string secret_file() const { return hosted_->secret_file(test::secret_of(1)); }
  vmsrs_server_info info() { return manager_->info(server_); }
  // All regions are compared with their mirrors by the server's service thread.
  void scrub();

 private:
  std::unique_ptr<test::HostedProcess> hosted_;
  std::unique_ptr<test::Manager> manager_;
  std::uint32_t server_;
};

// Users of other threads that have written and then wait, unfinished: active, or crashed and not
// yet collected. They sleep; they end with this object.
class WaitingUsers {
 public:
  // User i writes granules [i * granules_each, (i + 1) * granules_each) of `words`.
  WaitingUsers(unsigned count, bool crashed, std::uint64_t* words, std::size_t granules_each);
  ~WaitingUsers();
  WaitingUsers(const WaitingUsers&) = delete;
  WaitingUsers& operator=(const WaitingUsers&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned ready_ = 0;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

[[noreturn]] void give_up(const std::string& what);

}  // namespace vmsrs::bench
