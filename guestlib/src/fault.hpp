// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

// The fault handler: SIGSEGV, SIGBUS, SIGFPE, SIGILL, and the SIGABRT that it raises itself, of a
// thread whose user is open are that user's crash; of any other thread they are none of ours and go
// where they went before.
namespace vmsrs::guest {

void on_fault(int signal, siginfo_t* info, void* ucontext);

}  // namespace vmsrs::guest
