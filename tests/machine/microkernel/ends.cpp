// SPDX-License-Identifier: Apache-2.0
// How a guest ends without a word, and what looks like it.
#include "microkernel.hpp"

namespace {

constexpr uint16_t kPanicPort = 0x505;
constexpr unsigned kHangMs = 6000, kSampleMs = 1000;  // hang_seconds=6

void allow_interrupts() { asm volatile("sti" ::: "memory"); }
void refuse_interrupts() { asm volatile("cli" ::: "memory"); }

// The hypervisor has seen it take interrupts at least once.
void be_seen_alive() {
  allow_interrupts();
  wait_ms(3 * kSampleMs);
  refuse_interrupts();
}

}  // namespace

// The hypervisor ends it.
void case_hang() {
  be_seen_alive();
  start_processor(1, [] {
    for (;;) refuse_interrupts();
  });
  for (;;) refuse_interrupts();
}

// One processor is enough, and it may wait with HLT.
void case_no_hang() {
  if ((statistics().guest_watch & VMSRS_WATCH_HANG) == 0) skip("hangs are not watched for");
  be_seen_alive();
  start_processor(1, [] {
    for (;;) asm volatile("sti; hlt" ::: "memory");
  });
  wait_ms(kHangMs + 3 * kSampleMs);
}

// Nobody has seen it take interrupts yet: it may need long to start.
void case_slow_start() { wait_ms(kHangMs + 3 * kSampleMs); }

// A crash kernel is loaded and runs first: to the hypervisor a guest like any other, until it
// resets the machine. With kdump=skipped the hypervisor ends it.
void case_crash_kernel() {
  expect_equal(in8(kPanicPort), 3, "events of the panic device");
  out8(kPanicPort, 0);
  out8(kPanicPort, 4);  // none that it offers
  out8(kPanicPort, 2);
}

void case_panic() { out16(kPanicPort - 1, 0x100); }
