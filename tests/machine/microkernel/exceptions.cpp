// SPDX-License-Identifier: Apache-2.0
// Exceptions, interrupts and the processor's state across exits. Each `saw:` line of these cases
// must be the bare machine's (same_as_bare.py).
#include "microkernel.hpp"

namespace {

#define SEE(wanted, what)      \
  EXPECT_VECTOR(wanted, what); \
  report(what)

void set_cr0(uint64_t set, uint64_t clear) {
  uint64_t cr0 = 0;
  asm volatile("movq %%cr0, %0" : "=r"(cr0));
  asm volatile("movq %0, %%cr0" ::"r"((cr0 | set) & ~clear));
}

void page_faults() {
  const uint64_t absent = map_page(0, 0);
  load32(absent + 8);
  SEE(kPageFault, "read of an absent page");
  expect_equal(cpu().cr2, absent + 8, "CR2");
  store32(absent + 4092, 1);
  SEE(kPageFault, "write to an absent page");
  const uint64_t own = reinterpret_cast<uint64_t>(stacks) & ~uint64_t{4095};
  const uint64_t read_only = map_page(1, own | kPresent | kUser);
  store32(read_only, 1);
  SEE(kPageFault, "write to a read-only page");
  const uint64_t data = map_page(2, own | kPresent | kWritable | kUser | kNoExecute);
  ATTEMPT("jmp *%0", ::"r"(data) : "memory");
  SEE(kPageFault, "fetch from a page of data");
  const uint64_t reserved = map_page(3, own | kPresent | uint64_t{1} << 51);
  load32(reserved);
  SEE(kPageFault, "an entry with reserved bits");
}

// Instructions and what they meet, the same in ring 0 and ring 3.
#define ONE(name, text) \
  void name(uint64_t) { asm volatile(text ::: "memory", "cc", "rax", "rdx", "rcx"); }
ONE(divide_by_zero, "xorl %%ecx, %%ecx; movl $1, %%eax; xorl %%edx, %%edx; divl %%ecx")
ONE(divide_overflow, "movl $1, %%ecx; movl $5, %%edx; xorl %%eax, %%eax; divl %%ecx")
ONE(undefined, "ud2")
ONE(breakpoint, "int3")
ONE(non_canonical, "movq $1, %%rax; shlq $63, %%rax; movl (%%rax), %%ecx")
ONE(halt_instruction, "hlt")
ONE(privileged_register, "movq %%cr3, %%rax")
ONE(privileged_msr, "movl $0xc0000080, %%ecx; rdmsr")
ONE(privileged_port, "movl $0x3fd, %%edx; inb %%dx, %%al; cli")
ONE(bad_segment, "movl $0x1fff8, %%eax; movl %%eax, %%ds")
ONE(absent_segment, "movl $0x30, %%eax; movl %%eax, %%ds")
ONE(absent_stack_segment, "movl $0x30, %%eax; movl %%eax, %%ss")
ONE(unknown_interrupt, "int $0x41")
ONE(unused_opcode, ".byte 0x0f, 0x0b")
ONE(lock_prefix, "lock; nop")
ONE(null_far_jump, "pushq $0; pushq $0; lretq")
ONE(single_step_flag, "pushfq; orl $0x100, (%%rsp); popfq; nop; nop")
ONE(floating_point, "fninit; pushq $0x340; fldcw (%%rsp); fldz; fld1; fdivp; fwait; addq $8, %%rsp")

void floating_point_exceptions() {
  set_cr0(8, 0);
  ATTEMPT("fnop", ::: "memory");
  SEE(kNoDevice, "x87 with CR0.TS");
  ATTEMPT("movaps %%xmm0, %%xmm0", ::: "memory");
  SEE(kNoDevice, "SSE with CR0.TS");
  set_cr0(0, 8);
  static const uint16_t all_unmasked = 0x340;
  ATTEMPT("fninit; fldcw %0; fldz; fld1; fdivp; fwait", ::"m"(all_unmasked) : "memory");
  SEE(kFloatingPoint, "x87 division by zero");
  asm volatile("fninit");
}

// A second exception while the first one is delivered.
void double_faults() {
  set_gate(kNotPresent, 0, 0, 0, false);
  set_gate(kDoubleFault, reinterpret_cast<uint64_t>(vectors + 16 * kDoubleFault), kGoodStack, 0,
           true);
  ATTEMPT("movl $0x30, %%eax; movl %%eax, %%ds", ::: "rax", "memory");
  SEE(kDoubleFault, "#NP whose gate is absent");
  expect_equal(cpu().code, 0, "a double fault's code");
  set_gate(kNotPresent, reinterpret_cast<uint64_t>(vectors + 16 * kNotPresent), 0, 0, true);
  // Not contributory: the second is delivered in the first one's place.
  set_gate(kInvalidOpcode, 0, 0, 0, false);
  ATTEMPT("ud2", ::: "memory");
  SEE(kNotPresent, "#UD whose gate is absent");
  set_gate(kInvalidOpcode, reinterpret_cast<uint64_t>(vectors + 16 * kInvalidOpcode), 0, 0, true);
}

struct Each {
  const char* name;
  void (*code)(uint64_t);
  uint32_t ring0, ring3;
};
constexpr Each kEach[] = {
    {"division by zero", divide_by_zero, kDivide, kDivide},
    {"division whose result is too large", divide_overflow, kDivide, kDivide},
    {"UD2", undefined, kInvalidOpcode, kInvalidOpcode},
    {"INT3", breakpoint, kBreakpoint, kBreakpoint},
    {"non-canonical address", non_canonical, kGeneralProtection, kGeneralProtection},
    {"HLT", halt_instruction, kNone, kGeneralProtection},
    {"MOV from CR3", privileged_register, kNone, kGeneralProtection},
    {"RDMSR", privileged_msr, kNone, kGeneralProtection},
    {"IN", privileged_port, kNone, kGeneralProtection},
    {"segment past the table", bad_segment, kGeneralProtection, kGeneralProtection},
    {"absent segment", absent_segment, kNotPresent, kGeneralProtection},
    {"absent stack segment", absent_stack_segment, kStack, kGeneralProtection},
    {"INT 0x41", unknown_interrupt, 0x41, kGeneralProtection},
    {"undefined opcode", unused_opcode, kInvalidOpcode, kInvalidOpcode},
    {"LOCK before NOP", lock_prefix, kInvalidOpcode, kInvalidOpcode},
    {"far return to no segment", null_far_jump, kGeneralProtection, kGeneralProtection},
    {"single step", single_step_flag, kDebug, kDebug},
    {"x87 division by zero", floating_point, kFloatingPoint, kFloatingPoint},
};

}  // namespace

void case_exceptions() {
  for (const Each& each : kEach) {
    if (each.ring0 == kNone) continue;
    ATTEMPT("call *%0", ::"r"(each.code), "D"(0)
            : "memory", "cc", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11");
    cpu().offset += cpu().began_at - reinterpret_cast<uint64_t>(each.code);
    SEE(each.ring0, each.name);
  }
  asm volatile("fninit");
  page_faults();
  floating_point_exceptions();
  double_faults();
}

void case_exceptions_ring3() {
  for (const Each& each : kEach) {
    in_ring3(each.code);
    SEE(each.ring3, each.name);
    expect_equal(cpu().cs & 3, 3, "from ring 3");
  }
  asm volatile("fninit");
  const uint64_t own = reinterpret_cast<uint64_t>(stacks) & ~uint64_t{4095};
  const auto read = [](uint64_t address) {
    asm volatile("movl (%0), %%eax" ::"r"(address) : "rax", "memory");
  };
  const auto write = [](uint64_t address) {
    asm volatile("movl %%eax, (%0)" ::"r"(address) : "memory");
  };
  in_ring3(read, map_page(0, own | kPresent | kWritable));
  SEE(kPageFault, "read of ring 0's page");
  in_ring3(write, map_page(1, own | kPresent | kUser));
  SEE(kPageFault, "write to a read-only page");
  in_ring3(write, map_page(2, 0));
  SEE(kPageFault, "write to an absent page");
}

// ---- interrupts
namespace {

volatile uint64_t arrived, arrived_at;

void count(Frame& frame) {
  arrived = arrived + 1;
  arrived_at = frame.rip;
  apic(kApicEoi) = 0;
}

}  // namespace

// Interrupts that become pending while an exit is handled, or between STI and its shadow's end.
void case_interrupts() {
  constexpr unsigned kVector = 0x50;
  handlers[kVector] = count;
  apic(kApicDestination) = cpu_number() << 24;
  for (unsigned round = 1; round <= 1000; ++round) {
    uint64_t behind = 0;
    // The store is an exit itself; the interrupt waits for STI, and STI's shadow reaches over
    // CPUID.
    asm volatile(
        "cli; movl %[command], %[apic]; leaq 1f(%%rip), %[behind];"
        "xorl %%eax, %%eax; sti; cpuid; 1: nop; nop; cli"
        : [behind] "=&r"(behind), [apic] "=m"(apic(kApicCommand))
        : [command] "i"(kIpiSelf | kVector)
        : "rax", "rbx", "rcx", "rdx", "memory", "cc");
    expect_equal(arrived, round, "interrupts that have arrived");
    expect_equal(arrived_at, behind, "an interrupt behind the instruction in STI's shadow");
  }
  print("saw: 1000 interrupts behind STI and CPUID\r\n");
  // With interrupts on: behind the exit whose store sent it.
  asm volatile("sti");
  for (unsigned round = 1; round <= 1000; ++round) {
    apic(kApicCommand) = kIpiSelf | kVector;
    for (int i = 0; i < 100 && arrived != 1000 + round; ++i) cpuid(0);
    expect_equal(arrived, 1000 + round, "interrupts that have arrived");
  }
  // The timer into a loop of exits; not so fast that the emulator of a busy host drowns in it.
  apic(0x3e0) = 0xb;
  apic(0x320) = 0x20000 | kVector;
  const uint64_t before = arrived;
  apic(0x380) = 1000000;
  for (int i = 0; i < 1000000 && arrived < before + 200; ++i) cpuid(static_cast<uint32_t>(i & 1));
  for (int i = 0; i < 10000 && arrived < before + 200; ++i) wait_ms(1);
  apic(0x320) = 0x10000;
  expect(arrived >= before + 200, "the timer's interrupts into a loop of exits");
  // HLT behind STI wakes.
  apic(0x320) = kVector;
  const uint64_t last = arrived;
  apic(0x380) = 1000000;
  while (arrived == last) asm volatile("sti; hlt");
  asm volatile("cli");
  print("saw: the timer's interrupts\r\n");
}

// ---- events whose delivery meets an exit
namespace {

void nothing(uint64_t) {}

// A stack that cannot be stored to: each push of an event's delivery is a nested page fault.
uint64_t hidden_stack() { return ranges().hidden + 4096; }

}  // namespace

// An exit during the delivery of an exception, an interrupt, a software interrupt, an NMI
// (EXITINTINFO): what cannot be delivered becomes #GP, or a double fault where the manual says so.
void case_interrupted_events() {
  set_gate(kGeneralProtection, reinterpret_cast<uint64_t>(vectors + 16 * kGeneralProtection),
           kGoodStack, 0, true);
  set_gate(kDoubleFault, reinterpret_cast<uint64_t>(vectors + 16 * kDoubleFault), kGoodStack, 0,
           true);
  const uint64_t before = statistics().hidden_access_count;
  const uint64_t stack = hidden_stack();
  uint64_t keep = 0;
#define ON_STACK(where, text, ...)                                    \
  ATTEMPT("movq %%rsp, %0; movq %1, %%rsp; " text "; movq %0, %%rsp", \
          : "=&r"(keep)                                               \
          : "r"(where)__VA_OPT__(, ) __VA_ARGS__                      \
          : "memory", "cc", "rax")
  ON_STACK(stack, "ud2");
  EXPECT_VECTOR(kGeneralProtection, "#UD onto a hidden stack");
  expect_equal(cpu().code, 0, "its code");
  ON_STACK(stack, "int3");
  EXPECT_VECTOR(kGeneralProtection, "INT3 onto a hidden stack");
  ON_STACK(stack, "int $0x41");
  EXPECT_VECTOR(kGeneralProtection, "INT n onto a hidden stack");
  // Contributory: #DE and then what stands for #NPF's #GP.
  ON_STACK(stack, "xorl %%eax, %%eax; divb %%al");
  EXPECT_VECTOR(kDoubleFault, "#DE onto a hidden stack");
  ON_STACK(map_page(0, 0), "ud2");
  EXPECT_VECTOR(kDoubleFault,
                "#UD onto a stack that is not there: #PF, which cannot be delivered either");
  // An external interrupt: this processor's own, and the timer's.
  ON_STACK(stack, "movl %2, %3; sti; nop; nop; cli", "i"(kIpiSelf | 0x51), "m"(apic(kApicCommand)));
  EXPECT_VECTOR(kGeneralProtection, "an interrupt onto a hidden stack");
  apic(kApicEoi) = 0;
  ON_STACK(stack, "movl %2, %3; nop; nop", "i"(kIpiSelf | kIpiNmi), "m"(apic(kApicCommand)));
  EXPECT_VECTOR(kGeneralProtection, "an NMI onto a hidden stack");
  // Onto the APIC's page and onto a window, which can be read.
  ON_STACK(kApic + 0x1000, "ud2");
  EXPECT_VECTOR(kGeneralProtection, "#UD onto the APIC's page");
  ON_STACK(ranges().windows + 4096, "ud2");
  EXPECT_VECTOR(kGeneralProtection, "#UD onto a window");
  expect(statistics().hidden_access_count >= before + 6, "refused accesses are counted");
  // All of it works as before; an NMI can come again only behind an IRET, which go_on's was.
  handlers[0x50] = count;
  const uint64_t interrupts = arrived;
  asm volatile("sti");
  apic(kApicCommand) = kIpiSelf | 0x50;
  for (int i = 0; i < 100 && arrived == interrupts; ++i) cpuid(0);
  asm volatile("cli");
  expect_equal(arrived, interrupts + 1, "an interrupt afterwards");
  handlers[kNmi] = count;
  apic(kApicCommand) = kIpiSelf | kIpiNmi;
  for (int i = 0; i < 100 && arrived == interrupts + 1; ++i) cpuid(0);
  expect_equal(arrived, interrupts + 2, "an NMI afterwards");
  in_ring3(nothing);
  EXPECT_VECTOR(kNone, "ring 3 afterwards");
}

// ---- single steps, debug registers
namespace {

constexpr unsigned kMostSteps = 24;
uint64_t steps[kMostSteps], step_flags[kMostSteps];
unsigned step_count;

void step(Frame& frame) {
  uint64_t dr6 = 0;
  asm volatile("movq %%dr6, %0" : "=r"(dr6));
  if (step_count < kMostSteps) {
    steps[step_count] = frame.rip;
    step_flags[step_count++] = dr6;
  }
  asm volatile("movq %0, %%dr6" ::"r"(uint64_t{0xffff0ff0}));
}

}  // namespace

// A debugger that steps over instructions that exit sees each of them end.
void case_single_step() {
  handlers[kDebug] = step;
  handlers[0x41] = [](Frame&) {};
  for (unsigned i = 0; i < 4; ++i) {
    const uint64_t value = 0x1000 + i;
    if (i == 0) asm volatile("movq %0, %%dr0" ::"r"(value));
    if (i == 1) asm volatile("movq %0, %%dr1" ::"r"(value));
    if (i == 2) asm volatile("movq %0, %%dr2" ::"r"(value));
    if (i == 3) asm volatile("movq %0, %%dr3" ::"r"(value));
  }
  uint64_t begin = 0;
  asm volatile(
      "leaq 1f(%%rip), %0; movl $0xfee00080, %%r15d; pushfq; orl $0x100, (%%rsp); popfq;"
      "1: nop; cpuid; movl $0xc0000080, %%ecx; rdmsr; movl $0x10, (%%r15); wrmsr; invd; popcnt "
      "%%eax, %%eax; int $0x41;"
      "pushfq; andl $~0x100, (%%rsp); popfq; nop"
      : "=&r"(begin)
      :
      : "rax", "rbx", "rcx", "rdx", "r15", "memory", "cc");
  apic(0x80) = 0;
  // Lengths of the instructions in between; INT clears TF, its handler is not stepped through.
  print("saw: steps");
  for (unsigned i = 0; i < step_count; ++i) {
    print(" ");
    print_number(steps[i] - begin);
    print("/");
    print_number(step_flags[i]);
  }
  print("\r\n");
  expect(step_count >= 10, "a step for each instruction");
  constexpr unsigned kLengths[] = {1, 2, 5, 2};  // NOP, CPUID, MOV, RDMSR
  uint64_t at = begin;
  for (unsigned i = 0; i < 4; ++i) {
    at += kLengths[i];
    expect_equal(steps[i], at, "where a step ends");
    expect_equal(step_flags[i] & 0x4000, 0x4000, "DR6.BS");
  }
  uint64_t registers[4];
  asm volatile("movq %%dr0, %0; movq %%dr1, %1; movq %%dr2, %2; movq %%dr3, %3"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3]));
  for (unsigned i = 0; i < 4; ++i)
    expect_equal(registers[i], 0x1000 + i, "a debug register across exits");
}

// ---- registers that exits must not touch
namespace {

struct alignas(64) Vectors {
  uint8_t bytes[16][32];
};
Vectors given, found;

}  // namespace

void case_registers() {
  const bool avx = (cpuid(1).ecx >> 28 & 1) != 0;
  uint64_t xcr0 = 1;
  uint64_t cr4 = 0;
  asm volatile("movq %%cr4, %0" : "=r"(cr4));
  if (avx) {
    asm volatile("movq %0, %%cr4" ::"r"(cr4 | 1u << 18));
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
    xcr0 = 7;
    expect_equal(cpuid(1).ecx >> 27 & 1, 1, "CPUID mirrors CR4.OSXSAVE");
  }
  print(avx ? "saw: AVX\r\n" : "saw: no AVX\r\n");
  for (unsigned n = 0; n < 16; ++n)
    for (unsigned i = 0; i < 32; ++i)
      given.bytes[n][i] = static_cast<uint8_t>(n * 61 + i * 37 + 11);
#define EACH(f) \
  f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define LOAD_Y(n) asm volatile("vmovdqu %0, %%ymm" #n ::"m"(given.bytes[n]));
#define KEEP_Y(n) asm volatile("vmovdqu %%ymm" #n ", %0" : "=m"(found.bytes[n]));
#define LOAD_X(n) asm volatile("movdqu %0, %%xmm" #n ::"m"(given.bytes[n]));
#define KEEP_X(n) asm volatile("movdqu %%xmm" #n ", %0" : "=m"(found.bytes[n]));
  if (avx) {
    EACH(LOAD_Y)
  } else {
    EACH(LOAD_X)
  }
  const uint32_t mxcsr = 0x1f80 | 0x6000 | 0x8000;
  const uint16_t control = 0x0c7f;
  asm volatile("ldmxcsr %0; fninit; fldcw %1; fldpi; fld1" ::"m"(mxcsr), "m"(control));
  // Exits of all kinds, and general registers around one.
  uint64_t damaged = 0;
  for (int i = 0; i < 200; ++i) {
    asm volatile(
        "movq $3, %%rsi; movq $4, %%rdi; movq $8, %%r8; movq $9, %%r9; movq $10, %%r10; movq $12, "
        "%%r12;"
        "movq $13, %%r13; movq $14, %%r14; movq $15, %%r15; movl $0xc0000080, %%ecx; rdmsr; wrmsr;"
        "movl $0xfee00080, %%eax; movl $0x10, (%%rax); invd;"
        "xorl %%eax, %%eax; cmpq $3, %%rsi; setne %%al; movq %%rax, %0; cmpq $4, %%rdi; setne "
        "%%al; orq %%rax, %0;"
        "cmpq $8, %%r8; setne %%al; orq %%rax, %0; cmpq $9, %%r9; setne %%al; orq %%rax, %0;"
        "cmpq $10, %%r10; setne %%al; orq %%rax, %0; cmpq $12, %%r12; setne %%al; orq %%rax, %0;"
        "cmpq $13, %%r13; setne %%al; orq %%rax, %0; cmpq $14, %%r14; setne %%al; orq %%rax, %0;"
        "cmpq $15, %%r15; setne %%al; orq %%rax, %0"
        : "=&b"(damaged)
        :
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r12", "r13", "r14", "r15",
          "memory", "cc");
    expect_equal(damaged, 0, "general registers across exits");
    cpuid(0);
    if (has_hypervisor != 0) {
      statistics();
      load32(ranges().hidden);
    }
  }
  apic(0x80) = 0;
  if (avx) {
    EACH(KEEP_Y)
  } else {
    EACH(KEEP_X)
  }
  for (unsigned n = 0; n < 16; ++n)
    for (unsigned i = 0; i < (avx ? 32u : 16u); ++i)
      expect_equal(found.bytes[n][i], given.bytes[n][i], "a vector register across exits");
  uint32_t mxcsr_now = 0, xcr0_low = 0, xcr0_high = 0;
  uint16_t control_now = 0, status = 0;
  asm volatile("stmxcsr %0; fnstcw %1; fnstsw %2"
               : "=m"(mxcsr_now), "=m"(control_now), "=m"(status));
  expect_equal(mxcsr_now, mxcsr, "MXCSR");
  expect_equal(control_now, control, "the x87 control word");
  expect_equal(status >> 11 & 7, 6, "the x87 stack's top");
  double top = 0;
  asm volatile("fstpl %0; fstpl %0" : "=m"(top));
  expect_equal(*reinterpret_cast<uint64_t*>(&top), 0x400921fb54442d18, "pi");
  if (avx) {
    asm volatile("xgetbv" : "=a"(xcr0_low), "=d"(xcr0_high) : "c"(0));
    expect_equal(xcr0_low, xcr0, "XCR0");
  }
}
