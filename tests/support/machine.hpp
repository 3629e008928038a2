// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "monitor/monitor.hpp"
#include "support/host_memory.hpp"
#include "support/host_platform.hpp"

namespace vmsrs::test {

using Secret = std::array<std::uint8_t, VMSRS_SECRET_BYTES>;

// A secret that anybody can guess: all bytes the same.
Secret secret_of(std::uint8_t byte);

// What a call gave back. RDX and RSI as they came out.
struct Result {
  vmsrs_status status;
  std::uint64_t rdx;
  std::uint64_t rsi;
};

// A thread of some process: makes hypercalls as the processor would hand them over.
class Client {
 public:
  explicit Client(std::uint64_t address_space, std::uint64_t thread = 0x1000,
                  std::uint8_t privilege_level = 3)
      : caller_{address_space, thread, privilege_level, nullptr} {}

  Result call(std::uint64_t number, std::uint64_t rdi = 0, std::uint64_t rsi = 0,
              std::uint64_t rdx = 0, std::uint64_t r10 = 0, std::uint64_t r8 = 0,
              std::uint64_t r9 = 0);

  // To its end: while a dead process of the server is still being reaped it answers AGAIN.
  Result attach(const std::string& name, const Secret& secret, std::uint32_t process_id);
  // One call.
  Result attach_piece(const std::string& name, const Secret& secret, std::uint32_t process_id);
  // MGMT_REAP to its end.
  Result reap(std::uint64_t token, std::uint64_t server, std::uint64_t process_id);
  // PROFILE and PROFILE_FILL until the region is live.
  Result profile(void* address, std::size_t bytes, unsigned granule, bool eager = false);
  // The same with PROFILE_NAMED; RSI says where the content came from.
  Result profile_named(void* address, std::size_t bytes, unsigned granule, const std::string& name,
                       bool eager = false);
  // USER_CRASH to its end: while it answers AGAIN.
  Result crash(vmsrs_fault_kind kind = VMSRS_FAULT_WILD);
  // The processor has seen a fault of the thread.
  void see_fault(vmsrs_fault_kind kind);
  // Opens a management channel with the machine's secret; the token is in RDX.
  Result open(std::uint64_t capabilities = VMSRS_OBSERVE | VMSRS_OPERATE);
  Result define(std::uint64_t token, const std::string& name, const Secret& secret,
                std::uint64_t storage_quota = 0, std::uint32_t user_quota = 0,
                vmsrs_storage_policy policy = VMSRS_STORAGE_REFUSE);
  // A whole check; `serve` lets the servers' threads answer.
  vmsrs_status check(std::uint64_t token, vmsrs_check_report& report,
                     const std::function<void()>& serve);

  // From now on the calls are of another thread of the same process.
  std::uint64_t thread() const { return caller_.thread; }
  void change_thread(std::uint64_t thread) { caller_.thread = thread; }

  HostMemory memory;

 private:
  Result fill(const Result& region);

  monitor::Caller caller_;
};

inline std::uint64_t address_of(const void* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

// The monitor and the engine over ordinary memory, as after boot. Only one at a time.
class Machine {
 public:
  static constexpr std::size_t kStorageBytes = 9u << 20;
  // Throws if the storage is too small.
  explicit Machine(std::size_t storage_bytes = kStorageBytes, bool has_secret = true);

  // Boots again over the same memory, whatever it holds. Throws if that is too small.
  void restart();

  static Secret management_secret() { return secret_of(0xa5); }

  HostPlatform platform;

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  std::size_t storage_bytes_;
  bool has_secret_;
  std::unique_ptr<void, Free> storage_;
};

}  // namespace vmsrs::test
