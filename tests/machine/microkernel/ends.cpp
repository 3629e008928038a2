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

// The second start: what the first one came to, on each processor.
void expect_hang() {
  vmsrs_guest_end end{};
  Call ends{.number = VMSRS_CALL_MGMT_GUEST_ENDS,
            .rdi = management(),
            .rdx = reinterpret_cast<uint64_t>(&end),
            .r10 = sizeof(end)};
  expect_equal(hypercall(ends), VMSRS_OK, "the list of ends");
  expect_equal(ends.rdx, 1, "ends");
  expect_equal(end.kind, VMSRS_GUEST_HANG, "kind of the end");
  expect_equal(end.start, 1, "the start that ended");
  for (uint32_t number = 0; number < 2; ++number) {
    vmsrs_guest_cpu state{};
    Call call{.number = VMSRS_CALL_MGMT_GUEST_CPU,
              .rdi = management(),
              .rsi = end.sequence,
              .rdx = number,
              .r10 = reinterpret_cast<uint64_t>(&state),
              .r8 = sizeof(state)};
    expect_equal(hypercall(call), VMSRS_OK, "a processor of the end");
    expect_equal(state.state, VMSRS_GUEST_CPU_HELD, "its state");
    expect_equal(state.rflags & 0x200, 0, "its interrupt flag");
    expect_equal(state.rbx, 0xb0 + number, "its RBX");
    expect_equal(state.r8_to_r15[7], 0xf0 + number, "its R15");
    expect_equal(state.cr3, reinterpret_cast<uint64_t>(level4), "its CR3");
  }
}

// With these in its registers.
void hang() {
  const uint64_t number = cpu_number();
  asm volatile("cli; mov %1, %%r15; 1: jmp 1b" ::"b"(0xb0 + number), "a"(0xf0 + number)
               : "r15", "memory");
}

// The hypervisor ends it, and starts it again.
void case_hang() {
  if (statistics().guest_start == 2) return expect_hang();
  be_seen_alive();
  start_processor(1, hang);
  let_an_interrupt_wait();
  hang();
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
