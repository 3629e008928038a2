// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/processor.hpp"

namespace vmsrs::svm {

enum class Vector : std::uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kInvalidOpcode = 6,
  kDoubleFault = 8,
  kGeneralProtection = 13,
  kSecurity = 30,
};

// First thing after an exit: an event whose delivery the exit interrupted is injected again, unless
// the handler injects something else.
void keep_interrupted_event(Vmcb& vmcb);

// False when the guest has reached a triple fault (an exception while a double fault is delivered).
[[nodiscard]] bool inject_exception(Vmcb& vmcb, Vector vector, std::uint32_t error_code = 0);

// Before every entry: NMIs that are due, one at a time.
void inject_pending_nmi(Processor& processor);

// Past an instruction that was carried out for the guest; `length` is used where the processor does
// not tell where the next one is.
void skip_instruction(Vmcb& vmcb, std::uint64_t length);

}  // namespace vmsrs::svm
