// SPDX-License-Identifier: Apache-2.0
#include "svm/event_injection.hpp"

#include "svm/features.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint64_t kVectorMask = 0xff;
constexpr std::uint64_t kDebugSingleStep = 1u << 14;  // DR6.BS

// #DE, #TS, #NP, #SS, #GP and, as we treat it, #PF: a second one on top is a double fault (APM vol.
// 2, 8.2.9).
bool is_contributory(std::uint64_t vector) { return vector == 0 || (vector >= 10 && vector <= 14); }

}  // namespace

void keep_interrupted_event(Vmcb& vmcb) {
  VmcbControl& control = vmcb.control;
  std::uint64_t event = control.exit_interrupt_info;
  control.event_injection = 0;
  if ((event & kEventValid) == 0) return;
  const std::uint64_t type = event & kEventTypeMask;
  const std::uint64_t vector = event & kVectorMask;
  // The instruction pointer still stands at an INT n, INT3 or INTO: it is simply executed again.
  if (type == kEventSoftware) return;
  if (type == kEventException && (vector == 3 || vector == 4)) return;
  // QEMU's TCG reports an external interrupt so interrupted as an exception; VMRUN refuses
  // exceptions past 31.
  if (type == kEventException && vector >= 32) event &= ~kEventTypeMask;
  control.event_injection = event;
}

bool inject_exception(Vmcb& vmcb, Vector vector, std::uint32_t error_code) {
  const std::uint64_t before = vmcb.control.event_injection;
  auto number = static_cast<std::uint64_t>(vector);
  if ((before & kEventValid) != 0 && (before & kEventTypeMask) == kEventException) {
    const std::uint64_t first = before & kVectorMask;
    if (first == static_cast<std::uint64_t>(Vector::kDoubleFault)) return false;
    if (is_contributory(first) && is_contributory(number)) {
      number = static_cast<std::uint64_t>(Vector::kDoubleFault);
      error_code = 0;
    }
  }
  const bool real_mode = (vmcb.save.cr0 & x86::kCr0Pe) == 0;  // pushes no error codes
  const bool has_code =
      !real_mode && (number == 8 || (number >= 10 && number <= 14) || number == 30);
  vmcb.control.event_injection = kEventValid | kEventException | number |
                                 (has_code ? kEventErrorCode | std::uint64_t{error_code} << 32 : 0);
  return true;
}

void inject_pending_nmi(Processor& processor) {
  VmcbControl& control = processor.vmcb->control;
  if (!processor.nmi_pending || processor.nmi_blocked) return;
  if ((control.event_injection & kEventValid) != 0 || (control.interrupt_shadow & 1) != 0) {
    // Comes with the next exit; the first of an NMI handler's own exits is soon enough.
    return;
  }
  control.event_injection = kEventValid | kEventNmi | 2;
  processor.nmi_pending = false;
  processor.nmi_blocked = true;
  control.intercept_misc1 |= kInterceptIret;
}

void skip_instruction(Vmcb& vmcb, std::uint64_t length) {
  const bool told = features().next_rip && vmcb.control.next_rip != 0;
  vmcb.save.rip = told ? vmcb.control.next_rip : vmcb.save.rip + length;
  vmcb.control.interrupt_shadow &= ~std::uint64_t{1};
  if ((vmcb.save.rflags & x86::kRflagsTf) != 0) {
    // A single-stepping debugger must see this instruction end like any other.
    vmcb.save.dr6 |= kDebugSingleStep;
    static_cast<void>(inject_exception(vmcb, Vector::kDebug));
  }
}

}  // namespace vmsrs::svm
