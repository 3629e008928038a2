// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include "thread.hpp"

// The bound on a crashed user's time. A timer of the kernel, armed at the crash and aimed at the
// user's own thread, unwinds it even if it neither faults nor calls the library any more. What the
// timer carries is kept by the kernel, out of the user's reach.
namespace vmsrs::guest {

// The kernel's numbers of the users' threads, by slot. A wrong one gives a user's bound to a thread
// that ignores it.
using ThreadNumbers = std::int32_t[VMSRS_MAX_USERS];

void start_time_bound(ThreadContext& context);  // async-signal-safe
void stop_time_bound(ThreadContext& context);
// The thread ends. A timer stays with its thread, for all its users: making one takes longer than
// all else that is to be done at a crash.
void give_up_timer(ThreadContext& context);

// That thread's user has the slot.
void note_thread_of(std::uint64_t slot, std::int32_t thread);
// The same bound for a user that was declared crashed, if that is still the slot's: its thread may
// be in a loop in which it hears of nothing. Any thread.
void start_time_bound_of(std::uint64_t slot, std::uint64_t crash_epoch);
// Where that is kept; for attack tests.
ThreadNumbers& thread_numbers();

// Handler of the control block's time_signal.
void on_time_signal(int signal, siginfo_t* info, void* ucontext);

}  // namespace vmsrs::guest
