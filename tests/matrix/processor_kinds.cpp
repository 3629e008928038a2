// SPDX-License-Identifier: Apache-2.0
// Kinds that are about an instruction: arithmetic, vectors, and what a program may not execute.
#include <fenv.h>
#include <signal.h>

#include <climits>

#include "kinds.hpp"

namespace matrix {
namespace {

[[gnu::noinline]] void divide(int dividend, int divisor) {
  int quotient = dividend, rest = 0;
  asm volatile("cltd\n\tidivl %2" : "+a"(quotient), "=&d"(rest) : "r"(divisor) : "cc");
}

void divide_in_x87(const Scene&) {
  feenableexcept(FE_DIVBYZERO);
  asm volatile("fldz\n\tfld1\n\tfdivp\n\tfwait\n\tfstp %%st(0)" : : : "st", "memory");
  fedisableexcept(FE_DIVBYZERO);
}
void divide_in_sse(const Scene&) {
  feenableexcept(FE_DIVBYZERO);
  double one = 1;
  asm volatile("divsd %1, %0" : "+x"(one) : "x"(0.0));
  fedisableexcept(FE_DIVBYZERO);
}

void misaligned_vector(const Scene& scene) {
  asm volatile("movaps %%xmm7, (%0)" : : "r"(reinterpret_cast<char*>(scene.words) + 4) : "memory");
}
[[gnu::target("avx")]] void masked_store(const Scene&) {
  asm volatile("vpcmpeqd %%xmm7, %%xmm7, %%xmm7\n\tvmaskmovps %%xmm6, %%xmm7, (%0)"
               :
               : "r"(kWild)
               : "xmm7", "memory");
}
[[gnu::target("avx2")]] void gather(const Scene&) {
  asm volatile(
      "vpxor %%ymm5, %%ymm5, %%ymm5\n\tvpcmpeqd %%ymm7, %%ymm7, %%ymm7\n\t"
      "vpgatherdd %%ymm7, (%0,%%ymm5,4), %%ymm6\n\tvzeroupper"
      :
      : "r"(kWild)
      : "xmm5", "xmm6", "xmm7", "memory");
}
bool has_avx() { return __builtin_cpu_supports("avx"); }
bool has_avx2() { return __builtin_cpu_supports("avx2"); }

constexpr Kind kKinds[] = {
    {"division_by_zero", "`idiv` by zero", SIGFPE, VMSRS_FAULT_ARITHMETIC,
     [](const Scene&) { divide(1, 0); }},
    {"division_overflow", "`idiv` of the least number by -1", SIGFPE, VMSRS_FAULT_ARITHMETIC,
     [](const Scene&) { divide(INT_MIN, -1); }},
    {"x87_exception", "`fdiv` by zero with the exception unmasked", SIGFPE, VMSRS_FAULT_ARITHMETIC,
     divide_in_x87},
    {"sse_exception", "`divsd` by zero with the exception unmasked", SIGFPE, VMSRS_FAULT_ARITHMETIC,
     divide_in_sse},
    {"misaligned", "`movaps` to an address that is no multiple of 16", SIGSEGV,
     VMSRS_FAULT_NON_CANONICAL, misaligned_vector},
    {"masked_store", "AVX `vmaskmovps` far from everything", SIGSEGV, VMSRS_FAULT_WILD,
     masked_store, 0, "", has_avx},
    {"gather", "AVX2 `vpgatherdd` far from everything", SIGSEGV, VMSRS_FAULT_WILD, gather, 0, "",
     has_avx2},
    {"ud2", "`ud2`, which `__builtin_trap` is", SIGILL, VMSRS_FAULT_ILLEGAL,
     [](const Scene&) { asm volatile("ud2"); }},
    {"no_instruction", "a byte that is no instruction (`0x06`)", SIGILL, VMSRS_FAULT_ILLEGAL,
     [](const Scene&) { asm volatile(".byte 0x06"); }},
    {"misplaced_lock", "a `lock` prefix where none may be", SIGILL, VMSRS_FAULT_ILLEGAL,
     [](const Scene&) { asm volatile(".byte 0xf0, 0x89, 0xc0"); }},
    {"privileged", "`hlt`", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) { asm volatile("hlt"); }},
    {"port", "`in` from a port", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) {
       asm volatile("inb $0x80, %%al" : : : "rax");
     }},
    {"no_gate", "`int 0x21`", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) { asm volatile("int $0x21"); }},
    {"control_bits", "`ldmxcsr` with reserved bits", SIGSEGV, VMSRS_FAULT_NON_CANONICAL,
     [](const Scene&) {
       const unsigned bits = 0xffff'0000;
       asm volatile("ldmxcsr %0" : : "m"(bits));
     }},
    {"breakpoint", "`int3`", SIGTRAP, VMSRS_FAULT_ILLEGAL,
     [](const Scene&) { asm volatile("int3"); }},
    {"debug_trap", "`int1`", SIGTRAP, VMSRS_FAULT_ILLEGAL,
     [](const Scene&) { asm volatile(".byte 0xf1"); }},
};

}  // namespace

std::span<const Kind> processor_kinds() { return kKinds; }

}  // namespace matrix
