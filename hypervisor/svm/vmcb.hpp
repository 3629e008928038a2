// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// The virtual machine control block: AMD64 Architecture Programmer's Manual (APM) volume 2,
// appendix B, tables B-1 (control area) and B-2 (state save area).
namespace vmsrs::svm {

struct Segment {
  std::uint16_t selector;
  std::uint16_t attributes;  // APM vol. 2, 15.5.1: descriptor bits 55:52 and 47:40, packed
  std::uint32_t limit;
  std::uint64_t base;
};
static_assert(sizeof(Segment) == 16);

struct VmcbControl {
  std::uint32_t intercept_cr;
  std::uint32_t intercept_dr;
  std::uint32_t intercept_exceptions;
  std::uint32_t intercept_misc1;
  std::uint32_t intercept_misc2;
  std::uint32_t intercept_misc3;
  std::uint8_t reserved0[0x40 - 0x18];
  std::uint64_t iopm_base;
  std::uint64_t msrpm_base;
  std::uint64_t tsc_offset;
  std::uint32_t asid;
  std::uint32_t tlb_control;
  std::uint64_t virtual_interrupt;
  std::uint64_t interrupt_shadow;
  std::uint64_t exit_code;
  std::uint64_t exit_info1;
  std::uint64_t exit_info2;
  std::uint64_t exit_interrupt_info;
  std::uint64_t nested_control;
  std::uint8_t reserved1[0xa8 - 0x98];
  std::uint64_t event_injection;
  std::uint64_t nested_cr3;
  std::uint64_t lbr_control;
  std::uint64_t clean_bits;
  std::uint64_t next_rip;
  std::uint8_t fetched_count;
  std::uint8_t fetched_bytes[15];
  std::uint8_t reserved2[0x400 - 0xe0];
};
static_assert(offsetof(VmcbControl, intercept_misc1) == 0x0c);  // table B-1
static_assert(offsetof(VmcbControl, iopm_base) == 0x40);
static_assert(offsetof(VmcbControl, asid) == 0x58);
static_assert(offsetof(VmcbControl, interrupt_shadow) == 0x68);
static_assert(offsetof(VmcbControl, exit_code) == 0x70);
static_assert(offsetof(VmcbControl, exit_interrupt_info) == 0x88);
static_assert(offsetof(VmcbControl, nested_control) == 0x90);
static_assert(offsetof(VmcbControl, event_injection) == 0xa8);
static_assert(offsetof(VmcbControl, nested_cr3) == 0xb0);
static_assert(offsetof(VmcbControl, next_rip) == 0xc8);
static_assert(offsetof(VmcbControl, fetched_bytes) == 0xd1);
static_assert(sizeof(VmcbControl) == 0x400);

struct VmcbSave {
  Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
  std::uint8_t reserved0[0xcb - 0xa0];
  std::uint8_t cpl;
  std::uint32_t reserved1;
  std::uint64_t efer;
  std::uint8_t reserved2[0x148 - 0xd8];
  std::uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
  std::uint8_t reserved3[0x1d8 - 0x180];
  std::uint64_t rsp;
  std::uint8_t reserved4[0x1f8 - 0x1e0];
  std::uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
  std::uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
  std::uint8_t reserved5[0x268 - 0x248];
  std::uint64_t g_pat, debug_control;
  std::uint8_t reserved6[0xc00 - 0x278];
};
static_assert(offsetof(VmcbSave, tr) == 0x90);  // table B-2, offsets from 0x400
static_assert(offsetof(VmcbSave, cpl) == 0xcb);
static_assert(offsetof(VmcbSave, efer) == 0xd0);
static_assert(offsetof(VmcbSave, cr4) == 0x148);
static_assert(offsetof(VmcbSave, rip) == 0x178);
static_assert(offsetof(VmcbSave, rsp) == 0x1d8);
static_assert(offsetof(VmcbSave, rax) == 0x1f8);
static_assert(offsetof(VmcbSave, kernel_gs_base) == 0x220);
static_assert(offsetof(VmcbSave, cr2) == 0x240);
static_assert(offsetof(VmcbSave, g_pat) == 0x268);
static_assert(sizeof(VmcbSave) == 0xc00);

struct alignas(4096) Vmcb {
  VmcbControl control;
  VmcbSave save;
};
static_assert(sizeof(Vmcb) == 4096);

// Intercepts, APM vol. 2, table B-1, offsets 00Ch, 010h, 014h.
constexpr std::uint32_t kInterceptDivideError = 1u << 0;  // offset 008h
constexpr std::uint32_t kInterceptInvalidOpcode = 1u << 6;
constexpr std::uint32_t kInterceptGeneralProtection = 1u << 13;
constexpr std::uint32_t kInterceptSecurity = 1u << 30;
constexpr std::uint32_t kInterceptNmi = 1u << 1;
constexpr std::uint32_t kInterceptCpuid = 1u << 18;
constexpr std::uint32_t kInterceptIret = 1u << 20;
constexpr std::uint32_t kInterceptInvd = 1u << 22;
constexpr std::uint32_t kInterceptInvlpga = 1u << 26;
constexpr std::uint32_t kInterceptPorts = 1u << 27;
constexpr std::uint32_t kInterceptMsr = 1u << 28;
constexpr std::uint32_t kInterceptShutdown = 1u << 31;
constexpr std::uint32_t kInterceptSvmInstructions =
    0x7f;                                          // VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT
constexpr std::uint32_t kInterceptInvlpgb = 0x13;  // INVLPGB, illegal INVLPGB, TLBSYNC

// Exit codes, APM vol. 2, appendix C. Only 32 bits mean something (QEMU leaves the rest as it was).
enum ExitCode : std::uint32_t {
  kExitDivideError = 0x40,
  kExitInvalidOpcode = 0x46,
  kExitGeneralProtection = 0x4d,
  kExitSecurity = 0x5e,
  kExitNmi = 0x61,
  kExitCpuid = 0x72,
  kExitIret = 0x74,
  kExitInvd = 0x76,
  kExitInvlpga = 0x7a,
  kExitPort = 0x7b,
  kExitMsr = 0x7c,
  kExitShutdown = 0x7f,
  kExitVmrun = 0x80,
  kExitVmmcall = 0x81,
  kExitVmload = 0x82,
  kExitVmsave = 0x83,
  kExitStgi = 0x84,
  kExitClgi = 0x85,
  kExitSkinit = 0x86,
  kExitInvlpgb = 0xa0,
  kExitIllegalInvlpgb = 0xa1,
  kExitTlbsync = 0xa4,
  kExitNestedPageFault = 0x400,
  kExitInvalid = 0xffffffff,
};

constexpr std::uint32_t kTlbFlushAll = 1;   // APM vol. 2, 15.16.1
constexpr std::uint32_t kTlbFlushAsid = 3;  // needs CPUID Fn8000_000A EDX[6]

// EVENTINJ and EXITINTINFO, APM vol. 2, 15.20.
constexpr std::uint64_t kEventValid = 1u << 31;
constexpr std::uint64_t kEventErrorCode = 1u << 11;
constexpr std::uint64_t kEventTypeMask = 7u << 8;
constexpr std::uint64_t kEventInterrupt = 0u << 8;
constexpr std::uint64_t kEventNmi = 2u << 8;
constexpr std::uint64_t kEventException = 3u << 8;
constexpr std::uint64_t kEventSoftware = 4u << 8;

// General registers that the VMCB does not carry; the order is vm_run.S's.
struct GeneralRegs {
  std::uint64_t rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};
static_assert(offsetof(GeneralRegs, rsi) == 0x18 && offsetof(GeneralRegs, r15) == 0x68);

}  // namespace vmsrs::svm

extern "C" void vm_run(std::uint64_t vmcb_address, vmsrs::svm::GeneralRegs* general_regs);
