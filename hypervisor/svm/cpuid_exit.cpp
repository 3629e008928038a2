// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/abi.h>

#include "svm/exit_handlers.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint32_t kHypervisorLeavesEnd = 0x4fffffff;
constexpr std::uint32_t bit(unsigned n) { return 1u << n; }

constexpr std::uint32_t signature_word(int index) {
  std::uint32_t word = 0;
  for (int i = 3; i >= 0; --i) {
    word = word << 8 | static_cast<std::uint8_t>(VMSRS_CPUID_SIGNATURE[4 * index + i]);
  }
  return word;
}

// 0x40000000 and up: ours. An outer hypervisor's leaves go with it, above all its paravirtual TLB
// flush, which would break "a translation is good until the hypercall ends" (SEMANTICS.md, 4).
x86::CpuidResult hypervisor_leaf(std::uint32_t leaf) {
  if (leaf == VMSRS_CPUID_SIGNATURE_LEAF) {
    return {VMSRS_CPUID_VERSION_LEAF, signature_word(0), signature_word(1), signature_word(2)};
  }
  if (leaf == VMSRS_CPUID_VERSION_LEAF) return {VMSRS_ABI_VERSION, 0, 0, 0};
  return {0, 0, 0, 0};
}

void set_bit(std::uint32_t& word, std::uint32_t mask, bool on) {
  word = on ? word | mask : word & ~mask;
}

}  // namespace

void handle_cpuid(Processor& processor) {
  Vmcb& vmcb = *processor.vmcb;
  const auto leaf = static_cast<std::uint32_t>(vmcb.save.rax);
  const auto subleaf = static_cast<std::uint32_t>(processor.general_regs.rcx);
  x86::CpuidResult result{};
  if (leaf >= VMSRS_CPUID_SIGNATURE_LEAF && leaf <= kHypervisorLeavesEnd) {
    result = hypervisor_leaf(leaf);
  } else {
    result = x86::cpuid(leaf, subleaf);
  }
  switch (leaf) {
    case 1:
      result.ecx &= ~bit(21);  // x2APIC: its MSRs would pass the APIC trap by
      result.ecx |= bit(31);   // a hypervisor is present
      // Mirrors of CR4, which is the hypervisor's own while CPUID runs here.
      set_bit(result.ecx, bit(27), (vmcb.save.cr4 & x86::kCr4Osxsave) != 0);
      break;
    case 7:
      if (subleaf == 0) {
        result.ebx &= ~bit(1);  // TSC_ADJUST would move the hypervisor's clock
        set_bit(result.ecx, bit(4), (vmcb.save.cr4 & x86::kCr4Pke) != 0);
      }
      break;
    case 0x80000001:
      result.ecx &= ~(bit(2) | bit(12));  // SVM, SKINIT
      break;
    case 0x80000008:
      result.ebx &= ~bit(3);  // INVLPGB: it waits for no CPU that is inside a hypercall
      break;
    case 0x8000000a:
    case 0x8000001f:  // memory encryption: a guest's C bit would scramble what is walked from below
      result = {};
      break;
    default:
      break;
  }
  vmcb.save.rax = result.eax;
  processor.general_regs.rbx = result.ebx;
  processor.general_regs.rcx = result.ecx;
  processor.general_regs.rdx = result.edx;
  skip_instruction(vmcb, 2);
}

}  // namespace vmsrs::svm
