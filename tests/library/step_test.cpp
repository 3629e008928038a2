// SPDX-License-Identifier: Apache-2.0
#include "step.hpp"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>

// Real instructions, faulting on a real page, stepped over by the library's stepper alone: no user,
// no platform.
namespace {

using vmsrs::guest::StepOver;

ZydisDecoder decoder;
vmsrs::guest::XsaveLayout layout;
sigjmp_buf cannot_step;
volatile sig_atomic_t stepped_count;

void step_or_jump(int signal, siginfo_t* info, void* ucontext) {
  auto& context = *static_cast<ucontext_t*>(ucontext);
  if (vmsrs::guest::is_instruction_fetch(signal, *info, context) ||
      vmsrs::guest::step_over(decoder, layout, signal, context) == StepOver::kCannotStep)
    siglongjmp(cannot_step, 1);
  stepped_count = stepped_count + 1;
}

struct Stepping {
  Stepping() {
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    layout = vmsrs::guest::read_xsave_layout();
    stepped_count = 0;
    bad = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack{};
    stack.ss_sp = alternate.data();
    stack.ss_size = alternate.size();
    sigaltstack(&stack, &former_stack);
    struct sigaction action {};
    action.sa_sigaction = step_or_jump;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (std::size_t i = 0; i < 4; ++i) sigaction(kSignals[i], &action, &former[i]);
  }
  ~Stepping() {
    for (std::size_t i = 0; i < 4; ++i) sigaction(kSignals[i], &former[i], nullptr);
    sigaltstack(&former_stack, nullptr);
    munmap(bad, 4096);
  }
  static constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  void* bad;
  struct sigaction former[4];
  stack_t former_stack;
  std::array<char, 65536> alternate;
};

constexpr std::uint64_t kOnes = ~0ull;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(step, Stepping)

// One load each: instruction text, value before (all ones), value expected after.
#define CHECK_LOAD(instruction, expected)                                               \
  do {                                                                                  \
    std::uint64_t value = kOnes;                                                        \
    asm volatile("mov %0, %%rax\n\t" instruction "\n\tmov %%rax, %0"                    \
                 : "+r"(value)                                                          \
                 : "D"(bad)                                                             \
                 : "rax", "cc", "memory");                                              \
    BOOST_CHECK_MESSAGE(value == (expected), instruction << ": " << std::hex << value); \
  } while (false)

BOOST_AUTO_TEST_CASE(general_registers) {
  CHECK_LOAD("movq (%%rdi), %%rax", 0u);
  CHECK_LOAD("movl (%%rdi), %%eax", 0u);
  CHECK_LOAD("movw (%%rdi), %%ax", 0xffff'ffff'ffff'0000u);
  CHECK_LOAD("movb (%%rdi), %%al", 0xffff'ffff'ffff'ff00u);
  CHECK_LOAD("movb (%%rdi), %%ah", 0xffff'ffff'ffff'00ffu);
  CHECK_LOAD("movzbl (%%rdi), %%eax", 0u);
  CHECK_LOAD("movzwq (%%rdi), %%rax", 0u);
  CHECK_LOAD("movsbw (%%rdi), %%ax", 0xffff'ffff'ffff'0000u);
  CHECK_LOAD("movslq (%%rdi), %%rax", 0u);
  CHECK_LOAD("popcnt (%%rdi), %%rax", 0u);
  CHECK_LOAD("xchg %%rax, (%%rdi)", 0u);
  CHECK_LOAD("lock xaddl %%eax, (%%rdi)", 0u);
  CHECK_LOAD("addq (%%rdi), %%rax", kOnes);  // zero is added
  CHECK_LOAD("imulq $3, (%%rdi), %%rax", 0u);
}

BOOST_AUTO_TEST_CASE(high_and_new_byte_registers) {
  std::uint64_t rsi = kOnes, r12 = kOnes, rbx = kOnes, r9 = kOnes;
  asm volatile(
      "mov %4, %%rsi\n\tmov %4, %%r12\n\tmov %4, %%rbx\n\tmov %4, %%r9\n\t"
      "movb (%%rdi), %%sil\n\tmovb (%%rdi), %%r12b\n\tmovb (%%rdi), %%bh\n\tmovw (%%rdi), %%r9w\n\t"
      "mov %%rsi, %0\n\tmov %%r12, %1\n\tmov %%rbx, %2\n\tmov %%r9, %3"
      : "=m"(rsi), "=m"(r12), "=m"(rbx), "=m"(r9)
      : "r"(kOnes), "D"(bad)
      : "rsi", "r12", "rbx", "r9", "memory");
  BOOST_CHECK_EQUAL(rsi, 0xffff'ffff'ffff'ff00u);
  BOOST_CHECK_EQUAL(r12, 0xffff'ffff'ffff'ff00u);
  BOOST_CHECK_EQUAL(rbx, 0xffff'ffff'ffff'00ffu);
  BOOST_CHECK_EQUAL(r9, 0xffff'ffff'ffff'0000u);
  BOOST_CHECK_EQUAL(stepped_count, 4);
}

BOOST_AUTO_TEST_CASE(stores_are_dropped) {
  std::uint64_t value = 42;
  asm volatile(
      "movq %0, (%1)\n\tmovb $1, (%1)\n\tlock incl (%1)\n\taddq %0, (%1)\n\tnotq (%1)\n\t"
      "movnti %0, (%1)\n\torq $1, (%1)\n\tsete (%1)"
      : "+r"(value)
      : "r"(bad)
      : "memory", "cc");
  BOOST_CHECK_EQUAL(value, 42u);
  BOOST_CHECK_EQUAL(stepped_count, 8);
}

BOOST_AUTO_TEST_CASE(compare_and_exchange_ends_its_loop) {
  std::uint64_t rax = 7;
  unsigned rounds = 0;
  asm volatile("1: incl %1\n\tlock cmpxchgq %2, (%3)\n\tjne 1b"
               : "+a"(rax), "+r"(rounds)
               : "r"(9ull), "r"(bad)
               : "memory", "cc");
  BOOST_CHECK_EQUAL(rounds, 1u);
}

BOOST_AUTO_TEST_CASE(comparisons_find_equality) {
  bool equal = false, tested = false;
  asm volatile("cmpq $5, (%2)\n\tsete %0\n\ttestb $1, (%2)\n\tsete %1"
               : "=&q"(equal), "=&q"(tested)
               : "r"(bad)
               : "cc");
  BOOST_CHECK(equal);
  BOOST_CHECK(tested);
}

BOOST_AUTO_TEST_CASE(sse_registers) {
  alignas(16) std::uint64_t before[2] = {kOnes, kOnes};
  alignas(16) std::uint64_t after[2] = {1, 1};
  asm volatile("movdqa %1, %%xmm5\n\tmovdqu (%2), %%xmm5\n\tmovdqa %%xmm5, %0"
               : "=m"(after)
               : "m"(before), "r"(bad)
               : "xmm5");
  BOOST_CHECK_EQUAL(after[0] | after[1], 0u);
  asm volatile("movdqa %0, %%xmm15\n\tmovups %%xmm15, (%1)\n\tmovsd %%xmm15, (%1)"
               :
               : "m"(before), "r"(bad)
               : "xmm15", "memory");
  asm volatile("movdqa %1, %%xmm9\n\tmovsd (%2), %%xmm9\n\tmovdqa %%xmm9, %0"
               : "=m"(after)
               : "m"(before), "r"(bad)
               : "xmm9");
  BOOST_CHECK_EQUAL(after[0] | after[1], 0u);
  BOOST_CHECK_EQUAL(stepped_count, 4);
}

BOOST_AUTO_TEST_CASE(avx_registers) {
  if (!__builtin_cpu_supports("avx")) return;
  alignas(32) std::uint64_t before[4] = {kOnes, kOnes, kOnes, kOnes};
  alignas(32) std::uint64_t after[4] = {1, 1, 1, 1};
  asm volatile("vmovdqa %1, %%ymm3\n\tvmovdqu (%2), %%ymm3\n\tvmovdqa %%ymm3, %0"
               : "=m"(after)
               : "m"(before), "r"(bad)
               : "xmm3");
  BOOST_CHECK_EQUAL(after[0] | after[1] | after[2] | after[3], 0u);
  // An instruction without VEX leaves the upper half, one with it clears it.
  asm volatile("vmovdqa %1, %%ymm3\n\tmovdqu (%2), %%xmm3\n\tvmovdqa %%ymm3, %0"
               : "=m"(after)
               : "m"(before), "r"(bad)
               : "xmm3");
  BOOST_CHECK_EQUAL(after[0] | after[1], 0u);
  BOOST_CHECK_EQUAL(after[2] & after[3], kOnes);
  asm volatile("vmovdqa %1, %%ymm3\n\tvmovdqu (%2), %%xmm3\n\tvmovdqa %%ymm3, %0\n\tvzeroupper"
               : "=m"(after)
               : "m"(before), "r"(bad)
               : "xmm3");
  BOOST_CHECK_EQUAL(after[0] | after[1] | after[2] | after[3], 0u);
  BOOST_CHECK_EQUAL(stepped_count, 3);
}

BOOST_AUTO_TEST_CASE(avx512_registers) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return;
  alignas(64) std::uint64_t before[8], low[8], high[8];
  std::memset(before, 0xff, sizeof before);
  std::memset(low, 1, sizeof low);
  std::memset(high, 1, sizeof high);
  std::uint64_t mask = 1;
  asm volatile(
      "vmovdqu64 %3, %%zmm2\n\tvmovdqu64 %3, %%zmm20\n\tkmovq %5, %%k3\n\t"
      "vmovdqu64 (%4), %%zmm2\n\tvmovdqu64 (%4), %%zmm20\n\tkmovq (%4), %%k3\n\t"
      "vmovdqu64 %%zmm2, %0\n\tvmovdqu64 %%zmm20, %1\n\tkmovq %%k3, %2\n\tvzeroupper"
      : "=m"(low), "=m"(high), "=&r"(mask)
      : "m"(before), "r"(bad), "r"(kOnes)
      : "xmm2", "memory");
  for (const std::uint64_t word : low) BOOST_CHECK_EQUAL(word, 0u);
  for (const std::uint64_t word : high) BOOST_CHECK_EQUAL(word, 0u);
  BOOST_CHECK_EQUAL(mask, 0u);
  BOOST_CHECK_EQUAL(stepped_count, 3);
}

BOOST_AUTO_TEST_CASE(repeated_string_instructions_are_finished) {
  char good[64] = {};
  void* to = bad;
  const void* from = good;
  std::size_t count = 64;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  BOOST_CHECK_EQUAL(count, 0u);
  BOOST_CHECK_EQUAL(to, static_cast<char*>(bad) + 64);
  BOOST_CHECK_EQUAL(from, static_cast<const void*>(good + 64));
  to = bad;
  count = 8;
  asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(1ull) : "memory");
  BOOST_CHECK_EQUAL(count, 0u);
  BOOST_CHECK_EQUAL(to, static_cast<char*>(bad) + 64);
  from = bad;
  std::uint64_t rax = kOnes;
  asm volatile("lodsl" : "+S"(from), "+a"(rax));
  BOOST_CHECK_EQUAL(rax, 0u);
  BOOST_CHECK_EQUAL(from, static_cast<char*>(bad) + 4);
  from = bad;
  to = good;
  count = 10;
  bool equal = false;
  asm volatile("repe cmpsb\n\tsete %3"
               : "+S"(from), "+D"(to), "+c"(count), "=q"(equal)
               :
               : "cc", "memory");
  BOOST_CHECK(equal);
  BOOST_CHECK_EQUAL(stepped_count, 4);
}

BOOST_AUTO_TEST_CASE(division) {
  std::uint64_t quotient = 10, remainder = 0;
  asm volatile("divq %2" : "+a"(quotient), "+d"(remainder) : "r"(0ull) : "cc");
  BOOST_CHECK_EQUAL(quotient, 0u);
  BOOST_CHECK_EQUAL(remainder, 0u);
  std::int32_t low = INT32_MIN, high = -1;
  asm volatile("idivl %2" : "+a"(low), "+d"(high) : "r"(-1) : "cc");
  BOOST_CHECK_EQUAL(low, 0);
  BOOST_CHECK_EQUAL(high, 0);
  std::uint64_t rax = 0x1234'0000'0000'0010u;
  asm volatile("divb %b1" : "+a"(rax) : "c"(0) : "cc");
  BOOST_CHECK_EQUAL(rax, 0x1234'0000'0000'0000u);
  // The divisor itself may be what faults.
  quotient = 10, remainder = 3;
  asm volatile("divq (%2)" : "+a"(quotient), "+d"(remainder) : "r"(bad) : "cc");
  BOOST_CHECK_EQUAL(stepped_count, 4);
}

BOOST_AUTO_TEST_CASE(non_canonical_address) {
  std::uint64_t value = kOnes;
  asm volatile("movq (%1), %0" : "+r"(value) : "r"(0xdead'beef'dead'beefull));
  BOOST_CHECK_EQUAL(value, 0u);
}

BOOST_AUTO_TEST_CASE(floating_point_exceptions) {
  std::uint32_t control = 0;
  asm volatile("stmxcsr %0" : "=m"(control));
  const std::uint32_t unmasked = control & ~0x200u;  // division by zero
  double result = 1.0;
  asm volatile("ldmxcsr %1\n\tdivsd %3, %0\n\tldmxcsr %2"
               : "+x"(result)
               : "m"(unmasked), "m"(control), "x"(0.0));
  BOOST_CHECK_EQUAL(stepped_count, 1);
}

#define CHECK_CANNOT(instruction)                                     \
  do {                                                                \
    volatile bool jumped = false;                                     \
    if (sigsetjmp(cannot_step, 1) == 0) {                             \
      asm volatile(instruction : : "D"(bad) : "rax", "memory", "cc"); \
    } else {                                                          \
      jumped = true;                                                  \
    }                                                                 \
    BOOST_CHECK_MESSAGE(jumped, instruction);                         \
  } while (false)

BOOST_AUTO_TEST_CASE(only_unwinding_helps) {
  CHECK_CANNOT("pushq (%%rdi)");
  CHECK_CANNOT("popq (%%rdi)");
  CHECK_CANNOT("call *(%%rdi)");
  CHECK_CANNOT("jmp *(%%rdi)");
  CHECK_CANNOT("jmp *%%rdi");
  CHECK_CANNOT("xor %%eax, %%eax\n\tcall *%%rax");
  CHECK_CANNOT("ud2");
  CHECK_CANNOT("movabs $0xdeadbeefdeadbeef, %%rax\n\tjmp *%%rax");
  CHECK_CANNOT("mov %%rdi, %%rsp\n\tpush %%rax");
  CHECK_CANNOT("mov %%rdi, %%rsp\n\tret");
  CHECK_CANNOT("mov %%rdi, %%rsp\n\tcall 1f\n1:");
  CHECK_CANNOT("mov (%%rdi), %%rsp");
  CHECK_CANNOT("mov %%rdi, %%rbp\n\tleave");
  BOOST_CHECK_EQUAL(stepped_count, 0);
}

// The instruction ends exactly at the end of the last mapped page, or goes over a page border.
BOOST_AUTO_TEST_CASE(instruction_at_a_page_border) {
  constexpr std::uint8_t kLoadAndReturn[] = {0x48, 0x8b, 0x07, 0xc3};  // mov (%rdi), %rax; ret
  auto* code = static_cast<std::uint8_t*>(mmap(
      nullptr, 3 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(code + 2 * 4096, 4096);
  for (const std::size_t offset : {4096u - 1u, 4096u - 2u, 2u * 4096u - 4u}) {
    std::memcpy(code + offset, kLoadAndReturn, sizeof kLoadAndReturn);
    std::uint64_t value = kOnes;
    asm volatile("call *%1" : "+a"(value) : "r"(code + offset), "D"(bad) : "memory", "cc");
    BOOST_CHECK_EQUAL(value, 0u);
  }
  munmap(code, 2 * 4096);
  BOOST_CHECK_EQUAL(stepped_count, 3);
}

BOOST_AUTO_TEST_SUITE_END()
