// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Zydis/Zydis.h>
#include <signal.h>
#include <ucontext.h>

#include "vector_registers.hpp"

namespace vmsrs::guest {

enum class StepOver {
  kStepped,    // the context goes on behind the instruction
  kCannotStep  // control flow or the stack itself is bad: only unwinding helps
};

// Steps over the instruction that faulted. What it would have loaded is zero: registers that it
// only writes become zero by the rules of x86 (32-bit results clear the upper half, 8- and 16-bit
// ones leave the rest, vector registers are cleared), comparisons find equality, so that loops that
// follow a damaged list end; what it would have stored is dropped; a division gives quotient and
// remainder zero; a repeated string instruction is finished. Async-signal-safe.
[[nodiscard]] StepOver step_over(const ZydisDecoder& decoder, const XsaveLayout& layout, int signal,
                                 ucontext_t& context);

// Is the signal the one after a single step? Where the processor is a virtual machine's, its debug
// status (DR6) may have been lost on the way: Linux tells of a breakpoint then, with the trap flag
// set.
[[nodiscard]] bool is_single_step(int signal, const siginfo_t& info, const ucontext_t& context);

// Was the fault in fetching the instruction (a jump to somewhere wild)?
[[nodiscard]] bool is_instruction_fetch(int signal, const siginfo_t& info,
                                        const ucontext_t& context);

}  // namespace vmsrs::guest
