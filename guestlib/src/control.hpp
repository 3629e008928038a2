// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Zydis/Zydis.h>
#include <pthread.h>
#include <signal.h>
#include <vmsrs/abi.h>

#include <cstddef>
#include <cstdint>
#include <vmsrs/fast.hpp>

#include "call.hpp"
#include "dump.hpp"
#include "locks.hpp"
#include "vector_registers.hpp"

// What the library must know on the way of a fault. It fills a page of its own that is read-only
// from the end of attach to detach: a user that scribbles over it faults there, and that fault is
// contained like any other. What is *not* here is either the hypervisor's (who has crashed, what is
// restored) or a thread's own (thread.hpp), where damage can hurt that thread only.
struct vmsrs_heap;

namespace vmsrs::guest {

inline constexpr int kFaultSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
inline constexpr std::size_t kFaultSignalCount = sizeof kFaultSignals / sizeof *kFaultSignals;

inline constexpr std::size_t kMaxHeaps = 16;

struct ControlBlock {
  const vmsrs_window* window;  // nullptr: not attached
  std::uint64_t seal_key;      // see ThreadContext
  std::uint64_t suppression_limit_ns;
  std::uint32_t fault_limit;
  std::uint32_t stuck_limit_ms;
  std::uint32_t exposed_sample_every;  // 0: no user is sampled
  std::uint32_t server;
  std::int32_t process;  // that is attached; a child of fork has its parent's
  int time_signal;       // of the timer that bounds a crashed user's time
  sigset_t signals;      // that one and kFaultSignals
  std::uint32_t service_stop;
  bool can_populate;  // see touch_page
  bool hosted;        // see platform.cpp
  bool unprotected;   // see unprotected.hpp
  bool signal_mask_stays;
  bool polices_calls;  // of crashed users' threads
  bool watches_locks;
  void (*on_lock_left)(void* lock);
  std::uint32_t crashed_calls;  // enum vmsrs_calls
  int platform_descriptors[PlatformMemory::kMostDescriptors];
  std::uint32_t strict_key;  // stays when the process detaches: it may have it again
  std::uint32_t region_count;
  fast::Region regions[VMSRS_MAX_REGIONS];
  std::byte* areas;         // of users; nullptr: no region has claims
  std::byte* areas_memory;  // the same; stays when they are given up
  std::uint64_t area_bytes;
  vmsrs_heap* heaps[kMaxHeaps];
  LockFunctions locks;
  char dump_folder[kLongestDumpFolder + 1];  // empty: none is left
  pthread_key_t stack_key;  // the alternate stack that the library gave to a thread
  pthread_t service_thread;
  ZydisDecoder decoder;
  XsaveLayout xsave;
};

union ControlPage {
  ControlBlock block;
  std::byte bytes[VMSRS_PAGE_BYTES];
};
static_assert(sizeof(ControlPage) == VMSRS_PAGE_BYTES);

extern ControlPage control_page;

inline const ControlBlock& control() { return control_page.block; }

// nullptr while not attached. Reads afresh each time.
inline const vmsrs_window* attached_window() {
  return __atomic_load_n(&control_page.block.window, __ATOMIC_ACQUIRE);
}

// Make the page writable (attach and detach only), and read-only again. False: mprotect refused.
[[nodiscard]] bool unlock_control();
[[nodiscard]] bool lock_control();

}  // namespace vmsrs::guest
