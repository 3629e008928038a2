// SPDX-License-Identifier: Apache-2.0
#include "interpose.hpp"

#include "handlers.hpp"

// sigaction() and signal() of the program and of its shared libraries, in place of the C library's:
// the library's handlers stay first, whenever the program installs its own. Weak: a program that
// has put its own there keeps it, and calls vmsrs_sigaction().
namespace vmsrs::guest {

void keep_interposed() { asm volatile(""); }

namespace {

[[maybe_unused]] sighandler_t set_handler(int signal, sighandler_t handler, int flags) {
  struct sigaction action {
  }, former{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (program_action(signal, &action, &former) != 0) return SIG_ERR;
  return former.sa_handler;
}

}  // namespace
}  // namespace vmsrs::guest

#ifndef VMSRS_SANITIZED
using namespace vmsrs::guest;

extern "C" {

[[gnu::weak]] int sigaction(int signal, const struct sigaction* action,
                            struct sigaction* former) noexcept {
  return program_action(signal, action, former);
}

[[gnu::weak]] sighandler_t signal(int signal, sighandler_t handler) noexcept {
  if (!is_handled(signal)) return ssignal(signal, handler);  // it knows of siginterrupt()
  return set_handler(signal, handler, SA_RESTART);
}

// signal() of a program that is built for strict C or POSIX.
[[gnu::weak]] sighandler_t __sysv_signal(int signal, sighandler_t handler) noexcept {
  return set_handler(signal, handler, static_cast<int>(SA_RESETHAND) | SA_NODEFER);
}
[[gnu::weak]] sighandler_t sysv_signal(int signal, sighandler_t handler) noexcept {
  return __sysv_signal(signal, handler);
}

}  // extern "C"
#endif
