// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Instructions that C++ has no words for.
namespace vmsrs::x86 {

struct CpuidResult {
  std::uint32_t eax, ebx, ecx, edx;
};

inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  CpuidResult r{};
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf), "c"(subleaf));
  return r;
}

inline std::uint64_t read_msr(std::uint32_t msr) {
  std::uint32_t low = 0, high = 0;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return (std::uint64_t{high} << 32) | low;
}

inline void write_msr(std::uint32_t msr, std::uint64_t value) {
  asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<std::uint32_t>(value)),
               "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}

inline std::uint64_t read_tsc() {
  std::uint32_t low = 0, high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return (std::uint64_t{high} << 32) | low;
}

inline void out8(std::uint16_t port, std::uint8_t v) {
  asm volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
inline void out16(std::uint16_t port, std::uint16_t v) {
  asm volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
inline void out32(std::uint16_t port, std::uint32_t v) {
  asm volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t v = 0;
  asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}

inline std::uint16_t in16(std::uint16_t port) {
  std::uint16_t v = 0;
  asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}
inline std::uint32_t in32(std::uint16_t port) {
  std::uint32_t v = 0;
  asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
  return v;
}

inline void pause() { asm volatile("pause" ::: "memory"); }
inline std::uint64_t read_cr3() {
  std::uint64_t v = 0;
  asm volatile("mov %%cr3, %0" : "=r"(v));
  return v;
}
inline void write_cr3(std::uint64_t v) { asm volatile("mov %0, %%cr3" ::"r"(v) : "memory"); }
inline std::uint64_t read_cr4() {
  std::uint64_t v = 0;
  asm volatile("mov %%cr4, %0" : "=r"(v));
  return v;
}
inline void write_cr4(std::uint64_t v) { asm volatile("mov %0, %%cr4" ::"r"(v) : "memory"); }
inline void write_back_caches() { asm volatile("wbinvd" ::: "memory"); }

[[noreturn]] inline void halt_for_ever() {
  for (;;) asm volatile("cli; hlt" ::: "memory");
}

// Model-specific registers by their names in the AMD manual (APM vol. 2, appendix A).
constexpr std::uint32_t kMsrTsc = 0x10;
constexpr std::uint32_t kMsrApicBase = 0x1b;
constexpr std::uint32_t kMsrTscAdjust = 0x3b;
constexpr std::uint32_t kMsrMtrrBase0 =
    0x200;  // .. kMsrMtrrDefault, the page attribute table among them
constexpr std::uint32_t kMsrMtrrDefault = 0x2ff;
constexpr std::uint32_t kMsrPat = 0x277;
constexpr std::uint32_t kMsrX2Apic = 0x800;  // .. 0x8ff
constexpr std::uint32_t kMsrEfer = 0xc0000080;
constexpr std::uint32_t kMsrFsBase = 0xc0000100;
constexpr std::uint32_t kMsrSyscfg = 0xc0010010;
constexpr std::uint32_t kMsrIorrBase0 = 0xc0010016;  // .. IORR_MASK1 = +3
constexpr std::uint32_t kMsrTopMem = 0xc001001a;
constexpr std::uint32_t kMsrTopMem2 = 0xc001001d;
constexpr std::uint32_t kMsrPatchLoader = 0xc0010020;
constexpr std::uint32_t kMsrSmiOnIo = 0xc0010050;  // .. TRAP_CTL = +4, trigger address = +6
constexpr std::uint32_t kMsrMmioConfig = 0xc0010058;
constexpr std::uint32_t kMsrRmpBase = 0xc0010132;  // .. RMP_END = +1
constexpr std::uint32_t kMsrSmmBase = 0xc0010111;  // .. SMM_ADDR +1, SMM_MASK +2
constexpr std::uint32_t kMsrVmCr = 0xc0010114;
constexpr std::uint32_t kMsrIgnne = 0xc0010115;
constexpr std::uint32_t kMsrVmHsavePa = 0xc0010117;
constexpr std::uint32_t kMsrSvmKey = 0xc0010118;

constexpr std::uint64_t kEferSce = 1u << 0;
constexpr std::uint64_t kEferLme = 1u << 8;
constexpr std::uint64_t kEferLma = 1u << 10;
constexpr std::uint64_t kEferNxe = 1u << 11;
constexpr std::uint64_t kEferSvme = 1u << 12;
constexpr std::uint64_t kEferFfxsr = 1u << 14;
constexpr std::uint64_t kEferTce = 1u << 15;
constexpr std::uint64_t kEferMcommit = 1u << 17;
constexpr std::uint64_t kEferUaie = 1u << 20;
constexpr std::uint64_t kEferAutoIbrs = 1u << 21;

constexpr std::uint64_t kVmCrRedirectInit = 1u << 1;
constexpr std::uint64_t kVmCrSvmDisabled = 1u << 4;
constexpr std::uint64_t kVmCrLock = 1u << 3;

constexpr std::uint64_t kCr0Pe = 1u << 0;
constexpr std::uint64_t kCr0Pg = std::uint64_t{1} << 31;
constexpr std::uint64_t kCr4Pae = 1u << 5;
constexpr std::uint64_t kCr4La57 = 1u << 12;
constexpr std::uint64_t kCr4Osxsave = 1u << 18;
constexpr std::uint64_t kCr4Pke = 1u << 22;

constexpr std::uint64_t kRflagsTf = 1u << 8;
constexpr std::uint64_t kRflagsIf = 1u << 9;

}  // namespace vmsrs::x86
