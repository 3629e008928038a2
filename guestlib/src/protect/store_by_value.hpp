// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

// Stores of instrumented code whose hook could not give their granules to the user: another user's
// are in the way, or the user is crashed. The thread goes on an instruction at a time up to the end
// of the piece of code in which the store must be (a hook is called immediately before its store),
// and whatever it writes to a region meanwhile is made by the library in its place, by value, as
// vmsrs_store_range is. Everything here is async-signal-safe and about the calling thread.
namespace vmsrs::guest {

// From `resume` on, where the hook returns to. The caller returns there without any store.
void begin_by_value(const void* resume);

// The same from where a signal has interrupted the thread, if its hook window is open: closes it.
void go_on_by_value(ucontext_t& context);

// Is it one of those steps? Then it is done.
bool take_step(int signal, const siginfo_t& info, ucontext_t& context);

// The thread is taken elsewhere.
void stop_by_value();

// A slow path of a hook: a thread in it is not to be kicked, for it will look again.
class InHook {
 public:
  InHook();
  ~InHook();
  InHook(const InHook&) = delete;
  InHook& operator=(const InHook&) = delete;
};

// Another thread's hook window is waited for. True: it is in a system call, so its store is made;
// else it is told to close it, and one may ask again.
bool has_stored(std::uint64_t slot);
void on_kick(ucontext_t& context);

}  // namespace vmsrs::guest
