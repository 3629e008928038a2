// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "svm/vmcb.hpp"

namespace vmsrs::svm {

constexpr std::size_t kLongestInstruction = 15;

struct InstructionBytes {
  std::uint8_t at[kLongestInstruction] = {};
  std::size_t count = 0;  // fewer than asked for where the guest's tables end
};

// Bytes at the guest's instruction pointer, through its own page tables. Fallback for decode
// assists, and only as true as the guest's tables are at this moment: another CPU may change them,
// so what is decoded is a claim of the guest's, never a reason to trust.
InstructionBytes fetch_instruction(const Vmcb& vmcb, std::size_t wanted = kLongestInstruction);

}  // namespace vmsrs::svm
