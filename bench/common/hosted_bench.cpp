// SPDX-License-Identifier: Apache-2.0
#include "hosted_bench.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vmsrs/vmsrs.hpp>

#include "measure.hpp"

namespace vmsrs::bench {

void give_up(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}

HostedBench::HostedBench(const std::string& storage) {
  pin_to(kEngineCpu);  // inherited by the child
  hosted_ = std::make_unique<test::HostedProcess>(
      std::vector<std::string>{"--storage", storage, "--memory-per-account", "8GiB"});
  pin_to(kServerCpu);
  manager_ = std::make_unique<test::Manager>(*hosted_);
  server_ = manager_->define(kServer, test::secret_of(1));
  setenv(VMSRS_HOSTED_SOCKET_VARIABLE, hosted_->socket().c_str(), 1);
}

void HostedBench::attach() { attach_server(secret_file()); }

void attach_server(const std::string& secret_file) {
  vmsrs_options options{};
  options.server_name = kServer;
  options.secret_file = secret_file.c_str();
  options.suppression_limit_ms = 600'000;  // crashed users wait here as long as they are needed
  options.signal_mask_stays = true;        // nothing here blocks signals
  options.site_crash_limit = options.crash_limit =
      1'000'000;  // what is measured, is measured often
  if (vmsrs_attach(&options) != 0 || Init_profile() != 0) give_up(vmsrs_error_message());
}

void HostedBench::scrub() {
  test::Client& client = manager_->client();
  std::uint64_t bytes = ~0ull;
  while (client.call(VMSRS_CALL_MGMT_SCRUB, manager_->token(), server_, bytes).status ==
         VMSRS_AGAIN) {
    bytes = 0;
    usleep(100);
  }
}

std::uint64_t* HostedBench::memory(std::size_t bytes, bool profiled) {
  void* const place =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) give_up("no memory");
  std::memset(place, 1, bytes);
  if (profiled && profile(place, bytes, kGranuleBytes) != 0) give_up(vmsrs_error_message());
  return static_cast<std::uint64_t*>(place);
}

WaitingUsers::WaitingUsers(unsigned count, bool crashed, std::uint64_t* words,
                           std::size_t granules_each) {
  for (unsigned user = 0; user < count; ++user) {
    threads_.emplace_back([=, this] {
      if (vmsrs_user_begin(user + 1) != 0) give_up(vmsrs_error_message());
      for (std::size_t i = 0; i < granules_each; ++i)
        vmsrs::store(words + (user * granules_each + i) * kGranuleWords, std::uint64_t{user});
      if (crashed) crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
      std::unique_lock lock(mutex_);
      if (++ready_ == count) changed_.notify_all();
      changed_.wait(lock, [this] { return over_; });
      lock.unlock();
      vmsrs_user_end();
    });
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready_ == count; });
}

WaitingUsers::~WaitingUsers() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace vmsrs::bench
