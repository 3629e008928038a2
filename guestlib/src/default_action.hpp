// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate.hpp"

// What a signal does to a process without handlers, also where the thread is a crashed user's, to
// whom neither call is allowed. Async-signal-safe.
namespace vmsrs::guest {

inline void set_default(int signal) {
  constexpr unsigned long kDefault[4] = {};  // as the kernel has it: SIG_DFL, no flags, no mask
  constexpr long kSignalSetBytes = 8;
  vmsrs_gate_call(SYS_rt_sigaction, static_cast<long>(signal), kDefault, 0L, kSignalSetBytes);
}

// To the calling thread.
inline void send_to_self(int signal) {
  const long process = vmsrs_gate_call(SYS_getpid), thread = vmsrs_gate_call(SYS_gettid);
  vmsrs_gate_call(SYS_tgkill, process, thread, static_cast<long>(signal));
}

// A signal of the processor, which comes again as its instruction is repeated: not that of a trap
// (which is done), nor that of a system call that a filter caught.
inline bool comes_again(int signal, const siginfo_t& info) {
  return info.si_code > 0 && signal != SIGSYS && signal != SIGTRAP;
}

// A default action that ends the process is let happen at the faulting instruction itself, so that
// the core shows it.
inline void take_default(int signal, const siginfo_t& info) {
  set_default(signal);
  if (!comes_again(signal, info)) send_to_self(signal);
}

}  // namespace vmsrs::guest
