// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <vmsrs/abi.h>

#include <initializer_list>

// What the microkernel's cases share: a guest that is nothing but ring 0 (and, where a case wants
// it, ring 3), one case for each boot. A case that returns has succeeded.

enum Vector : uint32_t {
  kDivide = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kInvalidOpcode = 6,
  kNoDevice = 7,
  kDoubleFault = 8,
  kNotPresent = 11,
  kStack = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kFloatingPoint = 16,
  kNone = 0xffff,
};

// As entry.S stores it.
struct Frame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  uint64_t vector, code, rip, cs, rflags, rsp, ss;
};

struct Cpu {
  // What ATTEMPT sets: where to go on after an exception, and where its code began.
  uint64_t recover_at, recover_stack, began_at;
  // The last exception: its address as bytes behind the attempt's begin.
  uint64_t vector, code, offset, cr2, dr6, rflags, cs;
  uint64_t ring0_stack;  // of enter_ring3; 0: not in ring 3
};
constexpr unsigned kMaxCpus = 8;
Cpu& cpu();
unsigned cpu_number();  // by the local APIC

// Handlers of the cases; without one an exception ends the attempt or the code in ring 3 that met
// it, and outside of both it ends the case.
using Handler = void (*)(Frame&);
extern Handler handlers[256];

// Runs instructions; afterwards cpu().vector is the exception that they met, or kNone. The rest is
// operands as in any asm statement, from the colon of the outputs on.
#define ATTEMPT(code, ...)                                                           \
  do {                                                                               \
    cpu().vector = kNone;                                                            \
    asm volatile("movq $9f, %%gs:0; movq %%rsp, %%gs:8; movq $8f, %%gs:16; 8: " code \
                 "; 9: movq $0, %%gs:0" __VA_ARGS__);                                \
  } while (false)
#define EXPECT_VECTOR(wanted, what) expect_equal(cpu().vector, wanted, what)

void print(const char* text);
void print_number(uint64_t number);  // hexadecimal
// One line `saw: what vector ... `: what the bare machine must see, too.
void report(const char* what);
[[noreturn]] void fail(const char* what);
[[noreturn]] void skip(const char* why);
void expect_equal(uint64_t got, uint64_t wanted, const char* what);
inline void expect(bool holds, const char* what) {
  if (!holds) fail(what);
}
[[noreturn]] void halt();

extern "C" {
extern uint8_t* boot_params;
extern uint32_t has_hypervisor, status_without_paging, priority_without_paging;
extern uint64_t level4[512], level3[512], level2[2048];
extern char vectors[], stacks[], trampoline_begin[], trampoline_end[], interrupt_return[];
void enter_ring3(void (*code)(uint64_t), uint64_t stack, uint64_t argument);
void* memset(void* to, int value, size_t bytes);
void* memcpy(void* to, const void* from, size_t bytes);
}
// Runs it in ring 3 until it returns or meets an exception (cpu().vector, else kNone).
void in_ring3(void (*code)(uint64_t), uint64_t argument = 0);

// ---- the processor
struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult r{};
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf), "c"(subleaf));
  return r;
}
inline uint64_t read_msr(uint32_t msr) {
  uint32_t low = 0, high = 0;
  ATTEMPT("rdmsr", : "+a"(low), "+d"(high) : "c"(msr) : "memory");
  return uint64_t{high} << 32 | low;
}
inline void write_msr(uint32_t msr, uint64_t value) {
  ATTEMPT("wrmsr", ::"c"(msr), "a"(static_cast<uint32_t>(value)),
          "d"(static_cast<uint32_t>(value >> 32))
          : "memory");
}
inline uint64_t tsc() {
  uint32_t low = 0, high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return uint64_t{high} << 32 | low;
}
inline uint8_t in8(uint16_t port) {
  uint8_t value = 0;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline void out8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
inline void out16(uint16_t port, uint16_t value) {
  asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}
inline void out32(uint16_t port, uint32_t value) {
  asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
inline volatile uint32_t& at32(uint64_t address) {
  return *reinterpret_cast<volatile uint32_t*>(address);
}
inline volatile uint64_t& at64(uint64_t address) {
  return *reinterpret_cast<volatile uint64_t*>(address);
}

// A 32-bit store and load that may meet an exception.
inline void store32(uint64_t address, uint32_t value) {
  ATTEMPT("movl %0, (%1)", ::"r"(value), "r"(address) : "memory");
}
inline uint32_t load32(uint64_t address) {
  uint32_t value = 0;
  ATTEMPT("movl (%1), %0", : "+r"(value) : "r"(address) : "memory");
  return value;
}

constexpr uint64_t kApic = 0xfee00000;
constexpr uint32_t kApicEoi = 0xb0, kApicSpurious = 0xf0, kApicCommand = 0x300,
                   kApicDestination = 0x310, kApicInitialCount = 0x380;
constexpr uint32_t kIpiSelf = 0x40000, kIpiNmi = 0x4400, kIpiInit = 0x4500, kIpiStart = 0x4600;
inline volatile uint32_t& apic(uint32_t offset) { return at32(kApic + offset); }
void end_of_interrupt(Frame&);
// To one processor, whose number is its local APIC's.
void send_ipi(unsigned to, uint32_t command);
void wait_ms(unsigned ms);

// Starts processor `number` by INIT and start-up IPI; it runs `code` and then waits for nothing
// more.
void start_processor(unsigned number, void (*code)());
extern volatile bool processor_runs[kMaxCpus];

// ---- memory
struct Ranges {
  uint64_t image, hidden, hidden_end, windows;
};
const Ranges& ranges();  // of the hypervisor, from the memory map; fails without one

constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = uint64_t{1} << 63;
// A page of virtual memory of its own, mapped as `entry` says.
uint64_t map_page(unsigned index, uint64_t entry);
inline void invalidate(uint64_t address) { asm volatile("invlpg (%0)" ::"r"(address) : "memory"); }
// Segment 0x38 of the descriptor table, free for cases.
void set_segment(uint64_t descriptor);
void set_gate(unsigned vector, uint64_t handler, unsigned stack, unsigned privilege, bool present);
// Interrupt stacks (APM vol. 2, 8.9.4): one that is good.
constexpr unsigned kGoodStack = 1;

// ---- the hypervisor
struct Call {
  uint64_t number;
  uint64_t rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0;
};
uint64_t hypercall(Call& call);  // its status; rdx and rsi get the results
uint64_t management();           // a token that may observe
vmsrs_stats statistics();
vmsrs_exits exits(unsigned processor);
// All invariants hold.
void check_hypervisor();

// A number of the command line: `name=NUMBER`, else the default.
uint64_t option(const char* name, uint64_t otherwise);
