// SPDX-License-Identifier: Apache-2.0
#include "svm/exit_handlers.hpp"
#include "svm/instruction_fetch.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// 0F 01 D8 VMRUN, DA VMLOAD, DB VMSAVE, DC STGI, DD CLGI, DE SKINIT, DF INVLPGA. Not VMMCALL (D9).
bool is_svm_instruction(const InstructionBytes& bytes) {
  return bytes.count == 3 && bytes.at[0] == 0x0f && bytes.at[1] == 0x01 && bytes.at[2] >= 0xd8 &&
         bytes.at[2] != 0xd9 && bytes.at[2] <= 0xdf;
}

}  // namespace

// #GP. EFER.SVME is set behind the guest's back, so an SVM instruction in ring 3 ends in #GP before
// its intercept is looked at; on the processor that the guest believes to have it would be #UD.
// Every other #GP goes on to the guest as it came.
void handle_general_protection(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  const bool from_user = vmcb.save.cpl == 3;
  if (from_user && is_svm_instruction(fetch_instruction(vmcb, 3))) {
    refuse(processor, Vector::kInvalidOpcode);
    return;
  }
  const auto code = static_cast<std::uint32_t>(vmcb.control.exit_info1);
  refuse(processor, Vector::kGeneralProtection, code);
}

}  // namespace vmsrs::svm
