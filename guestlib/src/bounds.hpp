// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include "thread.hpp"

// The bound on a crashed user's time. A timer of the kernel, armed at the crash and aimed at the
// user's own thread, unwinds it even if it neither faults nor calls the library any more. What the
// timer carries (slot and generation) is kept by the kernel, out of the user's reach.
namespace vmsrs::guest {

void start_time_bound(ThreadContext& context);  // async-signal-safe
void stop_time_bound(ThreadContext& context);

// Handler of the control block's time_signal.
void on_time_signal(int signal, siginfo_t* info, void* ucontext);

}  // namespace vmsrs::guest
