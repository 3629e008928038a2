// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace vmsrs::guest
