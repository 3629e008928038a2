// SPDX-License-Identifier: Apache-2.0
#include "svm/exit_handlers.hpp"
#include "svm/features.hpp"
#include "svm/msr_permissions.hpp"
#include "svm/x86.hpp"

extern "C" bool host_read_msr(std::uint32_t msr, std::uint64_t* result);  // boot/host_vectors.S

namespace vmsrs::svm {
namespace {

// True: done. False: #GP.
bool write_efer(Vmcb& vmcb, std::uint64_t wanted) {
  const std::uint64_t now = vmcb.save.efer;
  if ((wanted & ~features().efer_allowed) != 0) return false;  // SVME is among the bits refused
  const bool paging = (vmcb.save.cr0 & x86::kCr0Pg) != 0;
  if (paging && ((wanted ^ now) & x86::kEferLme) != 0) return false;
  vmcb.save.efer = (wanted & ~x86::kEferLma) | (now & x86::kEferLma) | x86::kEferSvme;
  return true;
}

bool read_msr(const Processor& processor, std::uint32_t msr, std::uint64_t& result) {
  if (is_memory_type_msr(msr)) {
    result = processor.memory_types[msr - x86::kMsrMtrrBase0];
    return true;
  }
  switch (msr) {
    case x86::kMsrEfer:
      result = processor.vmcb->save.efer & ~x86::kEferSvme;
      return true;
    case x86::kMsrVmCr:
      result = x86::kVmCrSvmDisabled | x86::kVmCrLock;
      return true;
    default:
      return false;
  }
}

// An outer hypervisor may not know the register at all.
bool is_present_value(std::uint32_t msr, std::uint64_t wanted) {
  std::uint64_t present = 0;
  return host_read_msr(msr, &present) && present == wanted;
}

bool write_msr(Processor& processor, std::uint32_t msr, std::uint64_t wanted) {
  Vmcb& vmcb = *processor.vmcb;
  if (is_memory_type_msr(msr)) {
    processor.memory_types[msr - x86::kMsrMtrrBase0] = wanted;
    return true;
  }
  switch (msr) {
    case x86::kMsrEfer:
      return write_efer(vmcb, wanted);
    case x86::kMsrTsc:
      // The guest's clock moves, the hypervisor's does not.
      vmcb.control.tsc_offset = wanted - x86::read_tsc();
      return true;
    default:
      // The APIC's address and what shapes the physical address space: may be written as they are.
      return is_fixed_msr(msr) && is_present_value(msr, wanted);
  }
}

}  // namespace

void handle_msr(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  const auto msr = static_cast<std::uint32_t>(processor.general_regs.rcx);
  bool done = false;
  if (vmcb.control.exit_info1 == 1) {
    const std::uint64_t wanted = (processor.general_regs.rdx << 32) | (vmcb.save.rax & 0xffffffff);
    done = write_msr(processor, msr, wanted);
  } else {
    std::uint64_t result = 0;
    done = read_msr(processor, msr, result);
    if (done) {
      vmcb.save.rax = result & 0xffffffff;
      processor.general_regs.rdx = result >> 32;
    }
  }
  if (done) {
    skip_instruction(vmcb, 2);
  } else {
    refuse(processor, Vector::kGeneralProtection);
  }
}

}  // namespace vmsrs::svm
