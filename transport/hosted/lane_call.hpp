// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "hosted/link.hpp"

namespace vmsrs::hosted {

// Arguments in, status and results out, as in the ABI's register map.
struct Registers {
  std::uint64_t rax = 0, rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0;
};

// How long the calling thread spins before it sleeps: learnt from call to call. 0: not yet known.
using SpinBudget = std::uint32_t;

enum class LaneResult {
  kAnswered,
  kNotYours,  // the lane is bound to another thread, or to none: take one and repeat
  kGone       // the other side is not there any more
};

// One call on a lane of `thread`. Structures and source ranges are copied into the lane's payload
// first: a bad pointer faults here, in the caller's name, before anything was asked. What a call
// writes into a buffer is copied out after it. Async-signal-safe; not to be re-entered on the same
// lane.
LaneResult call_on_lane(const Link& link, std::uint32_t lane, std::uint64_t thread,
                        Registers& registers, SpinBudget& budget);

}  // namespace vmsrs::hosted
