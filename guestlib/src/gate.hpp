// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

// The one place from which a thread whose system calls are policed may make them: the library's own
// calls, those that were allowed, and the return from the handler that decides.
extern "C" {
// As syscall(), but a negative errno is the error's result.
long vmsrs_gate_call(long number, ...);
// Ends a signal handler: goes on with what was interrupted. The frame is the kernel's.
[[noreturn]] void vmsrs_gate_return(ucontext_t* frame);
extern const char vmsrs_gate_begin[], vmsrs_gate_end[];
}
