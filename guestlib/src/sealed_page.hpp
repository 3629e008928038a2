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
// never writable where it lies.
template <typename T>
union SealedPage {
  T value;
  std::byte bytes[VMSRS_PAGE_BYTES];
};

// Changes such a page: a copy of it, at an address that nobody knows, takes its place at the end.
// Who reads sees the page as it was, or the change whole. One writer at a time; no signal comes
// meanwhile. Async-signal-safe. The lock is ordinary memory: who has to wait too long for it goes
// on, and then of two changes one may be lost.
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
    const long made =
        vmsrs_gate_call(SYS_mmap, 0L, sizeof page_, static_cast<long>(PROT_READ | PROT_WRITE),
                        static_cast<long>(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L);
    if (made < 0 && made >= -kMostErrors) {  // no memory: the change is made in place
      copy_ = &page_;
      protect(PROT_READ | PROT_WRITE);
    } else {
      copy_ = reinterpret_cast<SealedPage<T>*>(made);
      *copy_ = page_;
    }
  }
  ~Writing() {
    commit();
    lock_.store(0, std::memory_order_release);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  T* operator->() { return &copy_->value; }
  T& operator*() { return copy_->value; }

  // The change is in force; nothing more can be changed. For who must do more under the lock.
  void commit() {
    if (copy_ == nullptr) return;
    protect(PROT_READ);
    if (copy_ != &page_)
      vmsrs_gate_call(SYS_mremap, copy_, sizeof page_, sizeof page_,
                      static_cast<long>(MREMAP_MAYMOVE | MREMAP_FIXED), &page_);
    copy_ = nullptr;
  }

 private:
  void protect(long protection) { vmsrs_gate_call(SYS_mprotect, copy_, sizeof page_, protection); }

  static constexpr unsigned kWaitLimit = 100'000;
  static constexpr long kMostErrors = 4095;
  SealedPage<T>& page_;
  SealedPage<T>* copy_;
  std::atomic<std::uint32_t>& lock_;
  sigset_t before_;
};

}  // namespace vmsrs::guest
