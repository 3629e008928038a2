// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

namespace vmsrs::guest {

// Where a thread was: what the return addresses of its frames are looked for with.
struct Frame {
  std::uint64_t stack;  // the stack pointer
  std::uint64_t base;   // the frame pointer, if the code has any
};

// Fills in the return addresses of the calling thread's frames, the innermost first; returns how
// many. Never faults: what is no stack gives none, and so does a kernel before 5.14. Code with
// frame pointers is followed from frame to frame. Of other code these are the words in the first 2
// KiB of the stack that lie right behind a call, but in the C library: one of a call that has
// returned may be among them. Async-signal-safe.
std::uint32_t trace(const Frame& from, std::uint64_t (&addresses)[VMSRS_TRACE_FRAMES]);

}  // namespace vmsrs::guest
