// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/processor.hpp"

namespace vmsrs::svm {

struct ApicStore {
  std::uint32_t value = 0;
  std::uint64_t length = 0;                    // of the instruction
  std::uint64_t* exchange_register = nullptr;  // XCHG: gets the old value
};

// Decodes the 32-bit store that the guest is at: MOV r/m32, r32 (89), MOV r/m32, imm32 (C7), MOV
// moffs32, EAX (A3) and XCHG r/m32, r32 (87): what compilers and Linux use. False for everything
// else.
bool decode_apic_store(Processor& processor, ApicStore& store);

}  // namespace vmsrs::svm
