// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <vmsrs/abi.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate.hpp"

namespace vmsrs::guest {

// What the library must write while users run, and a user that scribbles must not: a page that is
// read-only but for the moment of a change.
template <typename T>
union SealedPage {
  T value;
  std::byte bytes[VMSRS_PAGE_BYTES];
};

// Makes such a page writable for as long as it lives. One writer at a time; no signal comes
// meanwhile. Async-signal-safe. The lock is ordinary memory: who has to wait too long for it goes
// on, for the page's content is hints and counters, none of which is believed blindly.
template <typename T>
class Writing {
 public:
  Writing(SealedPage<T>& page, std::atomic<std::uint32_t>& lock) : page_(page), lock_(lock) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
    for (unsigned wait = 0; lock_.exchange(1, std::memory_order_acquire) != 0 && wait < kWaitLimit;
         ++wait)
      sched_yield();
    protect(PROT_READ | PROT_WRITE);
  }
  ~Writing() {
    protect(PROT_READ);
    lock_.store(0, std::memory_order_release);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  T* operator->() { return &page_.value; }
  T& operator*() { return page_.value; }

 private:
  void protect(long protection) { vmsrs_gate_call(SYS_mprotect, &page_, sizeof page_, protection); }

  static constexpr unsigned kWaitLimit = 100'000;
  SealedPage<T>& page_;
  std::atomic<std::uint32_t>& lock_;
  sigset_t before_;
};

}  // namespace vmsrs::guest
