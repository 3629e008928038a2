// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

#include "call.hpp"
#include "trace.hpp"

// The library's side of crash suppression (the paper, 4.4): tell the hypervisor, tell the program,
// bound what follows. Everything here is async-signal-safe and concerns the calling thread's user.
namespace vmsrs::guest {

// One hypercall; when it returns, suppression holds. Once for each user it starts the time bound
// and runs the on_crash callbacks, innermost first. Status OK: the first that its thread hears of
// its crash; CRASHED: a further fault, first = faults so far; anything else: the thread has no
// user, nothing was done. FAULT_NONE: no fault, the user was declared crashed by somebody else.
// `at`: where the fault was; nullptr: here.
CallResult crash_user(vmsrs_fault_kind kind, std::uint64_t address, std::uint64_t instruction,
                      const Frame* at = nullptr);

// Past its bound in faults or time?
bool past_bounds(std::uint64_t fault_count);

// For library calls of a crashed user: its thread hears of it, if somebody else declared it
// crashed; unwinds it if its time is over.
void meet_crash();

// For scopes: the same, without unwinding; nothing if the user is not crashed.
void hear_of_crash();

// A user was declared crashed, at that epoch: waits until no store of it is under way, tells the
// engine, and bounds the user's time. Any thread.
void see_to_declared(std::uint64_t slot, std::uint64_t crash_epoch);

// Has the calling thread a user? One that has written over what the library keeps of it has, and is
// crashed when this returns.
bool scope_is_open();

struct ThreadContext;
// The on_crash of scopes within the one at that depth, whose frames are to be left, if nobody has
// called them: these scopes were opened after the crash.
void run_callbacks_within(ThreadContext& context, std::uint64_t depth);

// Takes the thread to its landing point; without one reports the user as stuck and never returns.
[[noreturn]] void unwind();

// Is somebody of the server crashed, and not collected?
bool in_suppression();

// Is the calling thread's user crashed, as the window has it?
bool user_is_crashed();

}  // namespace vmsrs::guest
