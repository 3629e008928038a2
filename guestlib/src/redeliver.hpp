// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <ucontext.h>

namespace vmsrs::guest {

// The library's handlers run on the alternate stack. A program's handler without SA_ONSTACK must
// not: the kernel's frame is copied to where it would have been, below the interrupted code, the
// handler is started there, and its return is the signal's. Does not come back then. True: there is
// nothing to do, the frame is not on an alternate stack, or the interrupted code was on it too.
// False: the thread's stack has no room.
[[nodiscard]] bool redeliver_below(const struct sigaction& action, int signal,
                                   const siginfo_t& info, ucontext_t& context);

}  // namespace vmsrs::guest
