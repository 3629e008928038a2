// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <cstddef>

// The program's own handlers of the signals that the library handles first. What the program had
// before vmsrs_attach, and what it installs later, is kept here; it gets every such signal that is
// no user's fault, as the kernel would have given it.
namespace vmsrs::guest {

// 0 or a vmsrs_error. remove_handlers puts the program's own into the kernel's place again.
int install_handlers();
void remove_handlers();

// As if the library were not there. Called in the library's handler, with what that was given.
void chain(int signal, siginfo_t* info, void* ucontext);

// sigaction() of the program. 0, or -1 with errno. Async-signal-safe.
int program_action(int signal, const struct sigaction* wanted, struct sigaction* former);

// Is it one of those, and are ours in place?
bool is_handled(int signal);

// Where that is kept; for attack tests.
const void* handlers_page(std::size_t& bytes);

}  // namespace vmsrs::guest
