// SPDX-License-Identifier: Apache-2.0
// How a guest ends without a word, and what looks like it.
#include "microkernel.hpp"

namespace {

constexpr uint16_t kPanicPort = 0x505;
constexpr unsigned kHangMs = 6000, kSampleMs = 1000;  // hang_seconds=6

void allow_interrupts() { asm volatile("sti" ::: "memory"); }
void refuse_interrupts() { asm volatile("cli" ::: "memory"); }

constexpr unsigned kVector = 0x50;

// The hypervisor has seen it take interrupts at least once.
void be_seen_alive() {
  if ((statistics().guest_watch & VMSRS_WATCH_HANG) == 0) skip("hangs are not watched for");
  handlers[kVector] = end_of_interrupt;
  allow_interrupts();
  wait_ms(3 * kSampleMs);
  refuse_interrupts();
}

void let_an_interrupt_wait() { apic(kApicCommand) = kIpiSelf | kVector; }
void wait_long() { wait_ms(kHangMs + 3 * kSampleMs); }

}  // namespace

// The hypervisor ends it.
void case_hang() {
  be_seen_alive();
  start_processor(1, [] {
    for (;;) refuse_interrupts();
  });
  let_an_interrupt_wait();
  for (;;) refuse_interrupts();
}

// One processor that takes interrupts is enough, and it may wait with HLT.
void case_no_hang() {
  be_seen_alive();
  start_processor(1, [] {
    for (;;) asm volatile("sti; hlt" ::: "memory");
  });
  let_an_interrupt_wait();
  wait_long();
}

// Interrupts are off, and none waits: so is a kernel that idles by MWAIT.
void case_quiet() {
  be_seen_alive();
  start_processor(1, [] { halt(); });
  wait_long();
}

// Nobody has seen it take interrupts yet: it may need long to start.
void case_slow_start() {
  let_an_interrupt_wait();
  wait_long();
  handlers[kVector] = end_of_interrupt;
}

// A crash kernel is loaded and runs first: to the hypervisor a guest like any other, until it
// resets the machine. With kdump=skipped the hypervisor ends it.
void case_crash_kernel() {
  expect_equal(in8(kPanicPort), 3, "events of the panic device");
  out8(kPanicPort, 0);
  out8(kPanicPort, 4);  // none that it offers
  out8(kPanicPort, 2);
}

void case_panic() { out16(kPanicPort - 1, 0x100); }
