// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

// What this processor offers, found once at boot. Without the first group there is no hypervisor;
// everything in the second has a fallback.
struct Features {
  bool svm = false;
  bool svm_disabled = false;  // by firmware, VM_CR.SVMDIS
  bool long_mode = false;
  bool no_execute = false;

  bool huge_pages = false;
  bool next_rip = false;       // Fn8000_000A EDX[3]; else known instruction lengths
  bool flush_by_asid = false;  // EDX[6]; else all of the TLB
  bool decode_assists =
      false;             // EDX[7]; else the instruction is fetched through the guest's tables
  bool invlpgb = false;  // Fn8000_0008 EBX[3]
  bool rdrand = false;
  bool emulated = false;  // Fn1 ECX[31]: something else is below us
  bool smep = false, smap = false;
  std::uint32_t physical_bits = 36;
  std::uint64_t efer_allowed = 0;  // bits that the guest may set
};

const Features& features();
void detect_features();

}  // namespace vmsrs::svm
