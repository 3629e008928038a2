// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "hosted/shared_memory.hpp"
#include "recovery/platform.hpp"

namespace vmsrs::hosted {

// The machine below the engine when it runs in a process: the kernel's clock, windows that only
// this process can write, and the isolation of a process, which it does not call more than that.
// Any thread.
class HostedPlatform final : public recovery::Platform {
 public:
  // `storage` is what is_hidden() shall hold of.
  HostedPlatform(const void* storage, std::size_t storage_bytes);
  // False: no memory for the windows.
  bool valid() const;

  std::uint32_t isolation() const override { return VMSRS_ISOLATION_PROCESS; }
  std::uint64_t now_ns() const override;
  std::uint64_t recent_ns() const override;
  std::uint64_t cycles() const override { return __builtin_ia32_rdtsc(); }
  std::uint64_t cycles_per_second() const override { return cycles_per_second_; }
  std::uint64_t random() override;
  void relax() const override;
  vmsrs_window* window(std::uint32_t server) override;
  std::uint32_t cpu_count() const override { return cpu_count_; }
  std::uint64_t hidden_bytes() const override { return storage_bytes_; }
  // The kernel refuses both without telling this process: nothing can be counted.
  std::uint64_t hidden_access_count() const override { return 0; }
  std::uint64_t window_write_count() const override { return 0; }
  bool exits(std::uint32_t cpu, vmsrs_exits& out) const override;
  bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) const override;

  int window_descriptor(std::uint32_t server) const { return windows_[server].descriptor(); }
  // Calls that were answered on the processor that this thread runs on.
  void count_calls(std::uint64_t count, std::uint64_t cycles);

 private:
  struct alignas(64) CallCount {
    std::atomic<std::uint64_t> count{0}, cycles{0};
  };

  const void* storage_;
  std::size_t storage_bytes_;
  std::uint32_t cpu_count_;
  std::uint64_t cycles_per_second_;
  std::unique_ptr<CallCount[]> calls_;
  SharedMemory windows_[VMSRS_MAX_SERVERS];
};

}  // namespace vmsrs::hosted
