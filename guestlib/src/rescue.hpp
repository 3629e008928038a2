// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>

// Rescue points: functions out of which a thread comes, with an error, when its user crashes in
// them.
namespace vmsrs::guest {

struct ThreadContext;

// In the frame of the call; a thread's innermost one is in its context.
struct RescuePoint {
  RescuePoint* outer;
  std::uint64_t depth;  // open scopes around it
  sigjmp_buf landing;
  std::uint64_t sum;               // keyed, over the above: where nobody has landed by accident
  volatile std::uint32_t crashed;  // its user has crashed in it; a hint
};

// The calling thread's user has crashed, or failed once more: the innermost function gives its
// error.
void note_crash_in_rescue(ThreadContext& context);

// Takes the thread out of the innermost such function, from the handler of the fault that
// interrupted it. Returns if there is none, or the library is in the middle of something.
void leave_by_rescue(const ucontext_t& interrupted);

// Is the instruction one of the C library's? Whoever leaves there may leave its locks behind.
bool is_in_libc(std::uint64_t instruction);

// Those within the scope at that depth are over.
void drop_rescues(ThreadContext& context, std::uint64_t depth);

}  // namespace vmsrs::guest
