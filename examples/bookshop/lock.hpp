// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <vector>

// The shop's locks. They live outside the region: a restored lock word would be a lie about who
// holds it. Order: titles ascending, then the ledger (the last index); LockSet refuses anything
// else, so no two users can wait for each other in a circle. Releasing is async-signal-safe: a
// crashed user's locks are given back inside the fault handler.
namespace bookshop {

// Many readers or one writer, waiting by futex. Not fair: fine for holders that are all bounded in
// time.
class RwLock {
 public:
  void lock() {
    wait_until([this](std::uint32_t& seen) {
      seen = 0;
      return state_.compare_exchange_strong(seen, kWriter);
    });
  }
  void lock_shared() {
    wait_until([this](std::uint32_t& seen) {
      seen = state_.load();
      while (seen < kWriter - 1)
        if (state_.compare_exchange_weak(seen, seen + 1)) return true;
      return false;
    });
  }
  // Async-signal-safe.
  void unlock() {
    const std::uint32_t before =
        state_.load() == kWriter ? state_.exchange(0) : state_.fetch_sub(1);
    if (before != kWriter && before != 1) return;  // other readers are left
    if (waiters_.load() != 0)
      syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }

 private:
  static constexpr std::uint32_t kWriter = UINT32_MAX;

  // `attempt` reports the state that stood in its way.
  template <typename Attempt>
  void wait_until(Attempt attempt) {
    std::uint32_t seen;
    if (attempt(seen)) return;
    waiters_.fetch_add(1);
    while (!attempt(seen))
      syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    waiters_.fetch_sub(1);
  }

  std::atomic<std::uint32_t> state_{0};  // 0 free, kWriter, else the number of readers
  std::atomic<std::uint32_t> waiters_{0};
};

// All locks of a shop: one per title, then the ledger's.
class LockTable {
 public:
  explicit LockTable(std::size_t title_count) : locks_(title_count + 1) {}
  RwLock& at(std::size_t index) { return locks_[index]; }
  std::size_t ledger_index() const { return locks_.size() - 1; }
  std::size_t count() const { return locks_.size(); }

 private:
  std::vector<RwLock> locks_;
};

// What one user holds. Used by one thread and, after a crash, by that thread's fault handler. Once
// abandoned it takes no lock any more: the user's stores count no longer, so there is nothing to
// order.
class LockSet {
 public:
  explicit LockSet(LockTable& table) : table_(table), held_(table.count()) {}
  LockSet(const LockSet&) = delete;
  LockSet& operator=(const LockSet&) = delete;

  void begin() {
    release_all();
    abandoned_.store(false);
  }
  void lock(std::size_t index) { take(index, &RwLock::lock); }
  void lock_shared(std::size_t index) { take(index, &RwLock::lock_shared); }

  void release_all() {
    for (std::size_t left = count_.exchange(0); left > 0; --left)
      table_.at(held_[left - 1]).unlock();
  }
  // For the fault handler: async-signal-safe.
  void abandon() {
    abandoned_.store(true);
    release_all();
  }
  bool abandoned() const { return abandoned_.load(); }
  bool holds(std::size_t index) const {
    for (std::size_t i = 0; i < count_.load(); ++i)
      if (held_[i] == index) return true;
    return false;
  }

 private:
  void take(std::size_t index, void (RwLock::*acquire)()) {
    if (abandoned_.load()) return;
    const std::size_t count = count_.load();
    if (count > 0 && held_[count - 1] >= index) std::abort();  // lock order broken: a bug of ours
    (table_.at(index).*acquire)();
    held_[count] = index;
    count_.store(count + 1);
  }

  LockTable& table_;
  std::vector<std::size_t> held_;  // sized once: never grows while users run
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> abandoned_{false};
};

}  // namespace bookshop
