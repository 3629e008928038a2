// SPDX-License-Identifier: Apache-2.0
#include "monitor/monitor.hpp"
#include "svm/contradiction.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/guest_access.hpp"
#include "svm/init_messages.hpp"
#include "svm/instruction_fetch.hpp"
#include "svm/processor_start.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// 0F 01 D8 VMRUN, DA VMLOAD, DB VMSAVE, DC STGI, DD CLGI, DE SKINIT, DF INVLPGA. Not VMMCALL (D9).
bool is_svm_instruction(const InstructionBytes& bytes) {
  return bytes.count >= 3 && bytes.at[0] == 0x0f && bytes.at[1] == 0x01 && bytes.at[2] >= 0xd8 &&
         bytes.at[2] != 0xd9 && bytes.at[2] <= 0xdf;
}

// Prefixes that programs of 64 bits have before an instruction: size, repetition, segment, lock,
// REX.
bool is_prefix(std::uint8_t byte) {
  return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 ||
         (byte & 0xe7) == 0x26 || byte == 0x64 || byte == 0x65 || (byte & 0xf0) == 0x40;
}

// A #GP that Linux may answer by doing what the instruction would: SLDT, STR, SGDT, SIDT and SMSW
// under UMIP, CLI and STI of a program with I/O privileges.
bool may_be_emulated(const InstructionBytes& bytes) {
  std::size_t at = 0;
  while (at < bytes.count && is_prefix(bytes.at[at])) ++at;
  if (at == bytes.count) return true;  // not known
  if (bytes.at[at] == 0xfa || bytes.at[at] == 0xfb) return true;
  if (bytes.at[at] != 0x0f || at + 2 >= bytes.count) return false;
  const unsigned operation = bytes.at[at + 2] >> 3 & 7;
  return (bytes.at[at + 1] == 0x00 && operation <= 1) ||
         (bytes.at[at + 1] == 0x01 && (operation <= 1 || operation == 4));
}

vmsrs_fault_kind kind_of(Vector vector) {
  switch (vector) {
    case Vector::kDivideError:
      return VMSRS_FAULT_ARITHMETIC;
    case Vector::kInvalidOpcode:
      return VMSRS_FAULT_ILLEGAL;
    default:
      return VMSRS_FAULT_NON_CANONICAL;  // there is no address, which is what Linux says too
  }
}

}  // namespace

// #DE, #UD, #GP. From user code they are the fault of the thread's user, if it has one, and its
// crash counts before the guest's kernel hears of it. Then the guest gets what it would have got.
// EFER.SVME is set behind its back, so an SVM instruction in ring 3, or with a bad address in
// ring 0, ends in #GP before its intercept is looked at; on the processor that the guest believes
// to have it would be #UD.
void handle_exception(Processor& processor, Vector vector) {
  const Vmcb& vmcb = *processor.vmcb;
  const auto code = static_cast<std::uint32_t>(vmcb.control.exit_info1);
  bool emulated = false;
  if (vector == Vector::kGeneralProtection) {
    const InstructionBytes bytes = fetch_instruction(vmcb);
    if (is_svm_instruction(bytes)) vector = Vector::kInvalidOpcode;
    emulated = vector == Vector::kGeneralProtection && may_be_emulated(bytes);
  }
  if (vmcb.save.cpl == 3 && !emulated && !engine_is_abandoned()) {
    const InEngine inside(processor);
    const GuestAccess access;
    monitor::see_fault(caller_of(processor),
                       {static_cast<std::uint32_t>(kind_of(vector)), 0, 0, vmcb.save.rip});
  }
  refuse(processor, vector, code);
}

// #SX. A guest's own: on with it.
void handle_security_exception(Processor& processor) {
  const std::uint64_t code = processor.vmcb->control.exit_info1;
  if (what_is(code) == SecurityException::kRedirectedInit) {
    take_redirected_init(processor);
  } else {
    refuse(processor, Vector::kSecurity, static_cast<std::uint32_t>(code));
  }
}

}  // namespace vmsrs::svm
