// SPDX-License-Identifier: Apache-2.0
#include "svm/features.hpp"
#include "svm/machine.hpp"
#include "svm/msr_permissions.hpp"
#include "svm/page_table.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

extern "C" bool host_read_msr(std::uint32_t msr, std::uint64_t* result);  // boot/host_vectors.S

namespace vmsrs::svm {
namespace {

// Segment attributes as the VMCB packs them (APM vol. 2, 15.5.1).
constexpr std::uint16_t kCode16 = 0x9b;
constexpr std::uint16_t kData16 = 0x93;
constexpr std::uint16_t kCode32 = 0xc9b;
constexpr std::uint16_t kData32 = 0xc93;
constexpr std::uint16_t kLdt = 0x82;
constexpr std::uint16_t kBusyTss = 0x8b;

constexpr std::uint64_t kPatReset = 0x0007040600070406;  // APM vol. 2, 7.8.2
constexpr std::uint64_t kCr0Reset = 0x10;                // ET; caches stay as they are after INIT
constexpr std::uint64_t kDr6Reset = 0xffff0ff0;
constexpr std::uint64_t kDr7Reset = 0x400;
constexpr std::uint64_t kRflagsReset = 2;
constexpr std::uint64_t kNestedPaging = 1;
constexpr std::uint64_t kCr4Pse = 1u << 4, kCr4Mce = 1u << 6, kCr4Pge = 1u << 7,
                        kCr4Smep = 1u << 20, kCr4Smap = 1u << 21;

void write_control(Processor& processor) {
  VmcbControl& control = processor.vmcb->control;
  control.intercept_exceptions = kInterceptDivideError | kInterceptInvalidOpcode |
                                 kInterceptGeneralProtection | kInterceptSecurity;
  control.intercept_misc1 = kInterceptNmi | kInterceptCpuid | kInterceptInvd | kInterceptInvlpga |
                            kInterceptPorts | kInterceptMsr | kInterceptShutdown;
  control.intercept_misc2 = kInterceptSvmInstructions;
  control.intercept_misc3 = features().invlpgb ? kInterceptInvlpgb : 0;
  control.iopm_base = reinterpret_cast<std::uint64_t>(machine().io_permissions);
  control.msrpm_base = reinterpret_cast<std::uint64_t>(machine().msr_permissions);
  control.asid = 1;
  control.nested_control = kNestedPaging;
  control.nested_cr3 = value(machine().nested.root());
}

void load_hidden_state(const Vmcb& vmcb) {
  // FS, GS, TR, LDTR and the system-call MSRs (APM vol. 2, 15.5.2).
  asm volatile("vmload %0" ::"a"(&vmcb) : "memory");
}

// All that INIT resets and both ways into the guest share.
void reset_state(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  vmcb.save = VmcbSave{};
  VmcbSave& save = vmcb.save;
  save.es = save.ss = save.ds = save.fs = save.gs = {0, kData16, 0xffff, 0};
  save.cs = {0, kCode16, 0xffff, 0};
  save.gdtr = save.idtr = {0, 0, 0xffff, 0};
  save.ldtr = {0, kLdt, 0xffff, 0};
  save.tr = {0, kBusyTss, 0xffff, 0};
  save.efer = x86::kEferSvme;
  save.cr0 = kCr0Reset;
  save.dr6 = kDr6Reset;
  save.dr7 = kDr7Reset;
  save.rflags = kRflagsReset;
  save.g_pat = kPatReset;
  processor.general_regs = GeneralRegs{};
  processor.general_regs.rdx = x86::cpuid(1).eax;  // family and model, as after INIT
  processor.nmi_blocked = false;
  processor.nmi_pending = false;
  vmcb.control.intercept_misc1 &= ~kInterceptIret;
  vmcb.control.event_injection = 0;
  vmcb.control.interrupt_shadow = 0;
  vmcb.control.tlb_control = features().flush_by_asid ? kTlbFlushAsid : kTlbFlushAll;
}

}  // namespace

void read_memory_types(Processor& processor) {
  for (std::uint32_t i = 0; i <= 0xff; ++i) {
    const std::uint32_t msr = x86::kMsrMtrrBase0 + i;
    if (is_memory_type_msr(msr)) static_cast<void>(host_read_msr(msr, &processor.memory_types[i]));
  }
}

void enable_svm(Processor& processor) {
  x86::write_msr(x86::kMsrEfer, x86::read_msr(x86::kMsrEfer) | x86::kEferSvme);
  x86::write_msr(x86::kMsrVmHsavePa, value(host_physical(processor.host_save_area)));
  asm volatile("clgi" ::: "memory");
  // An INIT that comes past the traps (a device's message) becomes #SX instead of ending guest
  // mode.
  x86::write_msr(x86::kMsrVmCr, x86::read_msr(x86::kMsrVmCr) | x86::kVmCrRedirectInit);
  read_memory_types(processor);
  // The nearer the host's CR4 is to Linux's, the less a processor must throw away at each exit.
  std::uint64_t cr4 = x86::kCr4Pae | kCr4Pse | kCr4Pge | kCr4Mce;
  if (features().smep) cr4 |= kCr4Smep;
  if (features().smap) cr4 |= kCr4Smap;
  x86::write_cr4(cr4);
  if (features().smap) asm volatile("clac" ::: "memory");  // svm/guest_access.hpp
  write_control(processor);
}

void enter_protected_mode(Processor& processor, std::uint32_t entry, std::uint32_t boot_params) {
  reset_state(processor);
  VmcbSave& save = processor.vmcb->save;
  save.cs = {0x10, kCode32, 0xffffffff, 0};
  save.ds = save.es = save.ss = save.fs = save.gs = {0x18, kData32, 0xffffffff, 0};
  save.cr0 |= x86::kCr0Pe;
  save.rip = entry;
  processor.general_regs.rdx = 0;
  processor.general_regs.rsi = boot_params;
  load_hidden_state(*processor.vmcb);
}

void enter_real_mode(Processor& processor, std::uint8_t vector) {
  reset_state(processor);
  processor.vmcb->save.cs = {static_cast<std::uint16_t>(vector << 8), kCode16, 0xffff,
                             std::uint64_t{vector} << 12};
  load_hidden_state(*processor.vmcb);
}

}  // namespace vmsrs::svm
