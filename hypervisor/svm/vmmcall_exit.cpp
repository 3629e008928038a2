// SPDX-License-Identifier: Apache-2.0
#include "svm/contradiction.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/guest_access.hpp"
#include "svm/page_table.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {

monitor::Caller caller_of(Processor& processor) {
  const VmcbSave& save = processor.vmcb->save;
  processor.caller_memory.begin_call({save.cr0, save.cr3, save.cr4, save.efer});
  return {
      .address_space = save.cr3 & kPteAddress,
      .thread = x86::read_msr(x86::kMsrFsBase),  // still the guest's: the hypervisor has none
      .privilege_level = static_cast<std::uint8_t>(save.cpl == 0 ? 0 : 3),
      .memory = &processor.caller_memory,
  };
}

// VMMCALL from any privilege level: who calls is taken from processor state, then the monitor.
void handle_vmmcall(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  GeneralRegs& regs = processor.general_regs;
  const monitor::Caller caller = caller_of(processor);
  monitor::CallRegisters call{vmcb.save.rax, regs.rdi, regs.rsi, regs.rdx,
                              regs.r10,      regs.r8,  regs.r9};
  {
    const InEngine inside(processor);
    const GuestAccess access;
    engine_is_abandoned() ? monitor::dispatch_without_engine(caller, call)
                          : monitor::dispatch(caller, call);
  }
  vmcb.save.rax = call.rax;
  regs.rdi = call.rdi;
  regs.rsi = call.rsi;
  regs.rdx = call.rdx;
  regs.r10 = call.r10;
  regs.r8 = call.r8;
  regs.r9 = call.r9;
  skip_instruction(vmcb, 3);
}

}  // namespace vmsrs::svm
