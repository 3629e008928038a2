// SPDX-License-Identifier: Apache-2.0
// More than one processor: start, INIT, NMI, and every way that an INIT could take past the
// hypervisor.
#include "microkernel.hpp"

namespace {

volatile uint64_t alive, strange;

// Counts, and looks whether it is still below the hypervisor.
void live() {
  for (;;) {
    alive = alive + 1;
    if (has_hypervisor != 0 && cpuid(VMSRS_CPUID_SIGNATURE_LEAF).ebx != 0x52534d56) strange = 1;
  }
}

// Patient: the emulator of a busy host may leave one processor standing for long.
bool is_alive() {
  const uint64_t before = alive;
  for (int i = 0; i < 3000 && alive == before; ++i) wait_ms(1);
  return alive != before;
}

bool is_dead() {
  for (int i = 0; i < 100; ++i) {
    const uint64_t before = alive;
    wait_ms(20);
    if (alive == before) return true;
  }
  return false;
}

void need_two() {
  if ((cpuid(1).ebx >> 16 & 0xff) < 2) skip("one processor");
}

}  // namespace

// From real mode, again and again, out of a loop, out of HLT with interrupts off, and out of
// ring 3.
void case_processors() {
  need_two();
  const uint64_t record = 0x8f00;
  void (*const loops[])() = {live, [] { halt(); },
                             [] {
                               in_ring3([](uint64_t) {
                                 for (;;) alive = alive + 1;
                               });
                             }};
  for (int round = 0; round < 12; ++round) {
    start_processor(1, loops[round % 3]);
    if (round % 3 != 1) expect(is_alive(), "a processor that was started");
    expect_equal(at32(record) & 0xffff, 0, "AX after a start-up IPI");
    expect_equal(at32(record) >> 16, 0x800, "CS");
    expect_equal(at32(record + 4), cpuid(1).eax, "EDX");
    expect_equal(at32(record + 8) & ~0x60000000u, 0x10, "CR0");
    expect_equal(at32(record + 12), 2, "RFLAGS");
    expect_equal(at32(record + 16), 0, "ESP");
    // A start-up IPI without an INIT does nothing.
    if (round % 3 != 1) {
      send_ipi(1, kIpiStart | 9);
      expect(is_alive(), "a start-up IPI to a running processor");
      send_ipi(1, kIpiInit);
      expect(is_dead(), "a processor after INIT");
    }
  }
  // INIT means the start-up IPI afresh: the second of two does nothing.
  start_processor(1, live);
  send_ipi(1, kIpiInit);
  send_ipi(1, kIpiInit);
  wait_ms(2);
  processor_runs[1] = false;
  send_ipi(1, kIpiStart | 8);
  send_ipi(1, kIpiStart | 8);
  expect(is_alive(), "a processor after two INITs and two start-up IPIs");
  expect_equal(strange, 0, "it runs below the hypervisor");
  print("saw: 13 starts\r\n");
}

// ---- NMI
namespace {

volatile unsigned nmi_count, nmi_depth, nmi_deepest;

void take_nmi(Frame&) {
  nmi_count = nmi_count + 1;
  nmi_depth = nmi_depth + 1;
  if (nmi_depth > nmi_deepest) nmi_deepest = nmi_depth;
  if (nmi_count == 1) {
    apic(kApicDestination) = cpu_number() << 24;
    apic(kApicCommand) = kIpiNmi;  // waits for this one's IRET
    for (int i = 0; i < 50; ++i) cpuid(0);
  }
  nmi_depth = nmi_depth - 1;
}

volatile unsigned interrupts;
void take_interrupt(Frame&) {
  interrupts = interrupts + 1;
  apic(kApicEoi) = 0;
}

}  // namespace

void case_nmi() {
  handlers[kNmi] = take_nmi;
  send_ipi(cpu_number(), kIpiNmi);
  for (int i = 0; i < 1000 && nmi_count < 2; ++i) cpuid(0);
  expect_equal(nmi_count, 2, "NMIs: one, and one while it was handled");
  expect_equal(nmi_deepest, 1, "NMIs within each other");
  // An interrupt handler's IRET ends no NMI that nobody handles; many NMIs between interrupts.
  handlers[0x52] = take_interrupt;
  asm volatile("sti");
  for (unsigned round = 1; round <= 200; ++round) {
    const unsigned before = nmi_count;
    apic(kApicCommand) = kIpiSelf | 0x52;
    send_ipi(cpu_number(), kIpiNmi);
    for (int i = 0; i < 1000 && (nmi_count == before || interrupts < round); ++i) cpuid(0);
    expect_equal(nmi_count, before + 1, "NMIs between interrupts");
    expect_equal(interrupts, round, "interrupts between NMIs");
  }
  asm volatile("cli");
  print("saw: 202 NMIs, never two at a time\r\n");
  // From another processor, out of HLT with interrupts off.
  if ((cpuid(1).ebx >> 16 & 0xff) < 2) return;
  static volatile unsigned woken;
  start_processor(1, [] {
    for (;;) {
      asm volatile("hlt");
      woken = woken + 1;
    }
  });
  wait_ms(5);
  for (unsigned round = 1; round <= 20; ++round) {
    const unsigned before = nmi_count;
    send_ipi(1, kIpiNmi);
    for (int i = 0; i < 1000 && (nmi_count == before || woken < round); ++i) wait_ms(1);
    expect_equal(nmi_count, before + 1, "NMIs of the other processor");
  }
  print("saw: 20 NMIs out of HLT\r\n");
}

// ---- stores to the local APIC
void case_apic_stores() {
  expect_equal(priority_without_paging, 0x40, "MOV moffs32 to the APIC, 32-bit code");
  const uint64_t address = kApic + 0x80;
  volatile uint32_t& priority = apic(0x80);
  uint32_t value = 0x30;
  ATTEMPT("movl $0x10, (%0)", ::"r"(address) : "memory");
  expect_equal(priority, 0x10, "MOV imm32 to the APIC");
  ATTEMPT("movl %0, (%1)", ::"r"(0x20), "r"(address) : "memory");
  expect_equal(priority, 0x20, "MOV r32 to the APIC");
  ATTEMPT("movq %1, %%r12; movl %0, %%r13d; movl %%r13d, (%%r12)", ::"r"(0x60), "r"(address)
          : "r12", "r13", "memory");
  expect_equal(priority, 0x60, "MOV with REX prefix");
  ATTEMPT(".byte 0xa3; .quad 0xfee00080", ::"a"(0x40) : "memory");
  expect_equal(priority, 0x40, "MOV moffs32 to the APIC");
  ATTEMPT("movl %%edx, 0x70(%%rbx,%%rcx,8)", ::"d"(0x50), "b"(kApic), "c"(2) : "memory");
  expect_equal(priority, 0x50, "MOV r32 to the APIC with a scaled index");
  ATTEMPT("xchgl %0, (%1)", : "+r"(value) : "r"(address) : "memory");
  expect_equal(value, 0x50, "XCHG gets the old value");
  expect_equal(priority, 0x30, "XCHG sets the new one");
  EXPECT_VECTOR(kNone, "stores to the APIC");
  struct {
    const char* name;
    void (*store)(uint64_t);
  } const refused[] = {
      {"a 16-bit store to the APIC",
       [](uint64_t a) { asm volatile("movw %w0, (%1)" ::"r"(0x60), "r"(a)
                                     : "memory"); }},
      {"an 8-bit store", [](uint64_t a) { asm volatile("movb $0x60, (%0)" ::"r"(a)
                                                       : "memory"); }},
      {"a 64-bit store", [](uint64_t a) { asm volatile("movq $0x60, (%0)" ::"r"(a)
                                                       : "memory"); }},
      {"OR", [](uint64_t a) { asm volatile("orl $1, (%0)" ::"r"(a)
                                           : "memory", "cc"); }},
      {"CMPXCHG",
       [](uint64_t a) {
         asm volatile("cmpxchgl %1, (%0)" ::"r"(a), "r"(0x60), "a"(0x30) : "memory", "cc");
       }},
      {"MOVNTI",
       [](uint64_t a) { asm volatile("movnti %1, (%0)" ::"r"(a), "r"(0x60)
                                     : "memory"); }},
      {"MOVUPS", [](uint64_t a) { asm volatile("movups %%xmm0, (%0)" ::"r"(a)
                                               : "memory"); }},
      {"STOS", [](uint64_t a) { asm volatile("stosl" ::"D"(a), "a"(0x60)
                                             : "memory"); }},
      {"a store that is not aligned",
       [](uint64_t a) { asm volatile("movl $0x60, 4(%0)" ::"r"(a)
                                     : "memory"); }},
  };
  for (const auto& each : refused) {
    in_ring3(each.store, address);
    expect_equal(cpu().vector, kGeneralProtection, each.name);
  }
  expect_equal(priority, 0x30, "refused stores changed nothing");
  priority = 0;
  // Its number, which the hypervisor knows this processor by.
  const uint32_t number = apic(0x20);
  apic(0x20) = 0x7000000;
  expect_equal(apic(0x20), number, "the local APIC's number");
}

// ---- INIT by every route
namespace {

constexpr uint64_t kIoApic = 0xfec00000;

uint32_t read_io_apic(uint32_t index) {
  at32(kIoApic) = index;
  return at32(kIoApic + 0x10);
}
void write_io_apic(uint32_t index, uint32_t value) {
  at32(kIoApic) = index;
  store32(kIoApic + 0x10, value);
}

void expect_unharmed(const char* what) {
  if (!is_alive()) fail(what);
  expect_equal(strange, 0, what);
}

}  // namespace

void case_init_messages() {
  need_two();
  start_processor(1, [] {
    apic(0xd0) = 2u << 24;  // a logical destination that is its own
    live();
  });
  expect_unharmed("the second processor");
  // The interrupt command register: all forms that could name it but by its number.
  apic(kApicDestination) = 2u << 24;  // logical
  apic(kApicCommand) = kIpiInit | 0x800;
  expect_unharmed("INIT with a logical destination");
  apic(kApicDestination) = 1u << 24;
  apic(kApicCommand) = 0x8500;  // level, deassert
  expect_unharmed("INIT, deassert");
  // A local vector table entry.
  for (uint32_t entry = 0x320; entry <= 0x370; entry += 0x10) {
    apic(entry) = 0x500;
    expect((apic(entry) & 0x700) != 0x500, "an entry of the local vector table that delivers INIT");
  }
  // What a device's message would be, stored by a processor: destination in the address.
  for (const uint64_t address :
       {kApic + 0x1000, kApic + 0x1008, kApic + 0xff000, kApic + 0x100c, kApic}) {
    store32(address, 0x4500);
    expect_unharmed("a message to the APIC's range by a store");
    store32(address, 0xc500);
    expect_unharmed("a message to the APIC's range by a store, level");
  }
  ATTEMPT("movq %0, (%1)", ::"r"(uint64_t{0x4500}), "r"(kApic + 0x1000) : "memory");
  expect_unharmed("a message by a 64-bit store");
  // I/O APIC: the timer's pin.
  const uint32_t version = read_io_apic(1);
  expect((version & 0xff) >= 0x10, "an I/O APIC");
  for (const uint32_t low : {0x500u, 0x8500u, 0xd00u}) {
    for (const uint32_t pin : {0u, 2u}) {
      write_io_apic(0x11 + 2 * pin, low == 0xd00 ? 0x2000000 : 0x1000000);
      write_io_apic(0x10 + 2 * pin, low);
      expect((read_io_apic(0x10 + 2 * pin) & 0x700) != 0x500,
             "an I/O APIC's entry that delivers INIT");
    }
    out8(0x43, 0x34);  // channel 0, again and again
    out8(0x40, 0xff);
    out8(0x40, 0x10);
    wait_ms(20);
    expect_unharmed("INIT by the I/O APIC");
  }
  // In two steps: masked first, and by other widths.
  write_io_apic(0x14, 0x10500);
  write_io_apic(0x14, 0x00500);
  at32(kIoApic) = 0x14;
  ATTEMPT("movw $0x500, (%0)", ::"r"(kIoApic + 0x10) : "memory");
  ATTEMPT("movb $5, 1(%0)", ::"r"(kIoApic + 0x10) : "memory");
  ATTEMPT("movl $0x500, (%0)", ::"r"(kIoApic + 0x90) : "memory");
  wait_ms(20);
  expect_unharmed("INIT by the I/O APIC in pieces");
  // An ordinary interrupt still comes through it.
  handlers[0x53] = take_interrupt;
  write_io_apic(0x15, 0);
  write_io_apic(0x14, 0x53);
  expect_equal(read_io_apic(0x14) & 0x107ff, 0x53, "an ordinary entry of the I/O APIC");
  asm volatile("sti");
  for (int i = 0; i < 300 && interrupts == 0; ++i) wait_ms(1);
  asm volatile("cli");
  expect(interrupts > 0, "the timer's interrupt through the I/O APIC");
  write_io_apic(0x14, 0x10000);
}
