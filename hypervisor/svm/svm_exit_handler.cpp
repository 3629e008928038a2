// SPDX-License-Identifier: Apache-2.0
#include "svm/svm_exit_handler.hpp"

#include "svm/apic.hpp"
#include "svm/console.hpp"
#include "svm/event_injection.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/guest_end.hpp"
#include "svm/hang_watch.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// Lets the NMI that caused the exit in, to be forgotten by host_nmi_vector. GIF is 0 all the rest
// of the time.
void consume_nmi() { asm volatile("stgi; nop; clgi" ::: "memory"); }

void handle_nmi(Processor& processor) {
  consume_nmi();
  // Ours are kicks, and requests are looked at before every entry, and the hang watch's; everything
  // else is the guest's.
  const bool kicked = processor.kicked.exchange(false);
  if (!watch_for_hang(processor) && !kicked) processor.nmi_pending = true;
}

void handle_iret(Processor& processor) {
  processor.nmi_blocked = false;
  processor.vmcb->control.intercept_misc1 &= ~kInterceptIret;
}

}  // namespace

void refuse(Processor& processor, Vector vector, std::uint32_t error_code) {
  if (!inject_exception(*processor.vmcb, vector, error_code))
    end_guest(processor, GuestEnd::kShutdown);
}

vmsrs_exit_reason svm_exit_handler(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  keep_interrupted_event(vmcb);
  switch (static_cast<std::uint32_t>(vmcb.control.exit_code)) {
    case kExitVmmcall:
      handle_vmmcall(processor);
      return VMSRS_EXIT_VMMCALL;
    case kExitCpuid:
      handle_cpuid(processor);
      return VMSRS_EXIT_CPUID;
    case kExitMsr:
      handle_msr(processor);
      return VMSRS_EXIT_MSR;
    case kExitPort:
      handle_port(processor);
      return VMSRS_EXIT_OTHER;
    case kExitNestedPageFault:
      return handle_nested_page_fault(processor);
    case kExitDivideError:
      handle_exception(processor, Vector::kDivideError);
      return VMSRS_EXIT_OTHER;
    case kExitInvalidOpcode:
      handle_exception(processor, Vector::kInvalidOpcode);
      return VMSRS_EXIT_OTHER;
    case kExitGeneralProtection:
      handle_exception(processor, Vector::kGeneralProtection);
      return VMSRS_EXIT_OTHER;
    case kExitSecurity:
      handle_security_exception(processor);
      return VMSRS_EXIT_INIT;
    case kExitNmi:
      handle_nmi(processor);
      return VMSRS_EXIT_NMI;
    case kExitIret:
      handle_iret(processor);
      return VMSRS_EXIT_NMI;
    case kExitInvd:
      // Throwing caches away would throw the hypervisor's own data away with them.
      x86::write_back_caches();
      skip_instruction(vmcb, 2);
      return VMSRS_EXIT_OTHER;
    case kExitVmrun:
    case kExitVmload:
    case kExitVmsave:
    case kExitStgi:
    case kExitClgi:
    case kExitSkinit:
    case kExitInvlpga:
    case kExitInvlpgb:
    case kExitIllegalInvlpgb:
    case kExitTlbsync:
      // The guest's processor has no SVM.
      refuse(processor, Vector::kInvalidOpcode);
      return VMSRS_EXIT_SVM_INSTRUCTION;
    case kExitShutdown:
      end_guest(processor, GuestEnd::kShutdown);
    case kExitInvalid:
      dump_and_end(processor, "VMRUN refused the guest's state");
    default:
      dump_and_end(processor, "unexpected exit");
  }
}

void handle_exit(Processor& processor) {
  const std::uint64_t begin = x86::read_tsc();
  processor.vmcb->control.tlb_control = 0;
  const vmsrs_exit_reason reason = svm_exit_handler(processor);
  processor.exits.add(reason, x86::read_tsc() - begin);
}

void run_guest(Processor& processor) {
  for (;;) {
    obey_requests_and_enter(processor);
    inject_pending_nmi(processor);
    vm_run(reinterpret_cast<std::uint64_t>(processor.vmcb), &processor.general_regs);
    leave_guest(processor);
    handle_exit(processor);
  }
}

}  // namespace vmsrs::svm
