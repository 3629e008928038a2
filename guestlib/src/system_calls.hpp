// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <vmsrs/vmsrs.h>

#include <cstdint>

// System calls of a crashed user's thread: from its crash to its end point Linux hands each to the
// library (syscall user dispatch, Linux 5.11), which carries it out or refuses it. Until somebody
// crashes it costs nothing. There is no word in the thread's reach that would switch it off.
namespace vmsrs::guest {

// Into the control block, while it is writable: is it to be done, and can this kernel?
void set_up_policing(const vmsrs_options& options);

// Of the calling thread. Async-signal-safe; each may be repeated.
void begin_policing();
void end_policing();

// Of this process, so far.
std::uint64_t refused_call_count();

// Handler of SIGSYS.
void on_system_call(int signal, siginfo_t* info, void* ucontext);

}  // namespace vmsrs::guest
