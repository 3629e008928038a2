// SPDX-License-Identifier: Apache-2.0
#include "boot/processor_problem.hpp"

#include "svm/machine.hpp"

namespace vmsrs::boot {

const char* processor_problem(const svm::Features& features, std::uint64_t apic_base) {
  constexpr std::uint64_t kX2Apic = 1u << 10;
  constexpr std::uint64_t kAddress = 0x000ffffffffff000;
  if (!features.svm) return "this processor has no SVM (AMD-V)";
  if (features.svm_disabled) return "SVM (AMD-V) is switched off in the firmware's setup";
  if (!features.no_execute) return "this processor has no execute disable (NX)";
  if ((apic_base & kX2Apic) != 0 || (apic_base & kAddress) != svm::kLocalApic) {
    return "the firmware left the local APIC in x2APIC mode or at an unusual address";
  }
  return nullptr;
}

}  // namespace vmsrs::boot
