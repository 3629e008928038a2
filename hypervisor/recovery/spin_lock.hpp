// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "recovery/platform.hpp"

namespace vmsrs::recovery {

// A ticket lock: fair, so that no processor waits for ever behind a busy one, and a program that
// hammers one call cannot starve others. The price is paid where waiters can be descheduled
// (threads on a busy host): a queue moves at the pace of its slowest. Lock order, for the whole
// engine: table of servers, then one server, then storage, then events. No lock is taken twice by
// one CPU.
class SpinLock {
 public:
  void acquire(const Platform& platform) {
    const std::uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    while (serving_.load(std::memory_order_acquire) != mine) platform.relax();
  }
  void release() {
    serving_.store(serving_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  std::atomic<std::uint32_t> next_{0};
  std::atomic<std::uint32_t> serving_{0};
};

class LockGuard {
 public:
  LockGuard(SpinLock& lock, const Platform& platform) : lock_(lock) { lock_.acquire(platform); }
  ~LockGuard() { lock_.release(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace vmsrs::recovery
