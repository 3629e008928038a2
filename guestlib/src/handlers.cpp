// SPDX-License-Identifier: Apache-2.0
#include "handlers.hpp"

#include <errno.h>
#include <pthread.h>
#include <ucontext.h>
#include <vmsrs/vmsrs.h>

#include <atomic>
#include <cstdint>

#include "bounds.hpp"
#include "control.hpp"
#include "default_action.hpp"
#include "error.hpp"
#include "fault.hpp"
#include "interpose.hpp"
#include "redeliver.hpp"
#include "sealed_page.hpp"
#include "suppression.hpp"
#include "system_calls.hpp"

namespace vmsrs::guest {
namespace {

struct ProgramHandlers {
  bool in_place;  // ours are
  struct sigaction of[kFaultSignalCount];
};

alignas(VMSRS_PAGE_BYTES) constinit SealedPage<ProgramHandlers> page{};
constinit std::atomic<std::uint32_t> page_lock{0};

// kFaultSignalCount: none of ours.
std::size_t index_of(int signal) {
  std::size_t index = 0;
  while (index < kFaultSignalCount && kFaultSignals[index] != signal) ++index;
  return index;
}

bool is_function(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 ||
         (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

// A fault inside the handler (in a callback) must come through. A system call that a sent signal
// interrupts ends as the program's handler has it.
void install(int signal, const struct sigaction& programs) {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  const int restart = is_function(programs) ? programs.sa_flags & SA_RESTART : SA_RESTART;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | restart;
  action.sa_sigaction = signal == SIGSYS ? on_system_call : on_fault;
  kernel_sigaction(signal, &action, nullptr);
}

}  // namespace

void chain(int signal, siginfo_t* info, void* ucontext) {
  const std::size_t index = index_of(signal);
  const struct sigaction action = page.value.of[index];
  // (A call that a filter caught is not.)
  const bool from_processor = info->si_code > 0 && signal != SIGSYS;
  if (!is_function(action)) {
    if (action.sa_handler == SIG_IGN && !from_processor) return;
    return take_default(signal, *info);
  }
  if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
    Writing writing(page, page_lock);
    writing->of[index].sa_flags &= ~SA_SIGINFO;
    writing->of[index].sa_handler = SIG_DFL;
  }
  sigset_t mask = action.sa_mask;
  if ((action.sa_flags & SA_NODEFER) == 0) sigaddset(&mask, signal);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);  // the return from our own handler undoes it
  if ((action.sa_flags & SA_ONSTACK) == 0 &&
      !redeliver_below(action, signal, *info, *static_cast<ucontext_t*>(ucontext)))
    return take_default(signal, *info);  // the stack is not there: so does the kernel
  if ((action.sa_flags & SA_SIGINFO) != 0)
    action.sa_sigaction(signal, info, ucontext);
  else
    action.sa_handler(signal);
}

int program_action(int signal, const struct sigaction* wanted, struct sigaction* former) {
  const std::size_t index = index_of(signal);
  if (index == kFaultSignalCount || !page.value.in_place)
    return kernel_sigaction(signal, wanted, former);
  struct sigaction before;
  if (wanted != nullptr && in_suppression() && user_is_crashed()) {
    errno = EPERM;
    return -1;
  }
  if (wanted == nullptr) {
    before = page.value.of[index];
  } else {
    const struct sigaction copy = *wanted;
    Writing writing(page, page_lock);
    before = writing->of[index];
    writing->of[index] = copy;
    writing.commit();
    install(signal, copy);
  }
  if (former != nullptr) *former = before;
  return 0;
}

int install_handlers() {
  ControlBlock& block = control_page.block;
  keep_interposed();
  keep_locks_interposed();
  // A real-time signal that nobody else has a handler for.
  block.time_signal = 0;
  for (int signal = SIGRTMAX - 1; signal >= SIGRTMIN && block.time_signal == 0; --signal) {
    struct sigaction present {};
    if (kernel_sigaction(signal, nullptr, &present) != 0) continue;
    const bool is_free =
        (present.sa_flags & SA_SIGINFO) == 0
            ? present.sa_handler == SIG_DFL
            : present.sa_sigaction == on_time_signal;  // since it was attached before
    if (is_free) block.time_signal = signal;
  }
  if (block.time_signal == 0)
    return fail(VMSRS_ERROR_SYSTEM,
                "vmsrs_attach: every real-time signal has a handler: the library needs one");
  sigemptyset(&block.signals);
  sigaddset(&block.signals, block.time_signal);
  for (const int signal : kFaultSignals) sigaddset(&block.signals, signal);
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  action.sa_sigaction = on_time_signal;
  kernel_sigaction(block.time_signal, &action, nullptr);
  Writing writing(page, page_lock);
  for (std::size_t i = 0; i < kFaultSignalCount; ++i)
    kernel_sigaction(kFaultSignals[i], nullptr, &writing->of[i]);
  writing->in_place = true;
  writing.commit();
  for (std::size_t i = 0; i < kFaultSignalCount; ++i) install(kFaultSignals[i], page.value.of[i]);
  return 0;
}

// But that of the time signal stays: a timer that was set for a user that somebody else declared
// crashed is deleted when it rings, whenever that is, and by default its signal ends the process.
void remove_handlers() {
  Writing writing(page, page_lock);
  writing->in_place = false;
  writing.commit();
  for (std::size_t i = 0; i < kFaultSignalCount; ++i) {
    struct sigaction present {};
    // Somebody may have put a handler over ours without our seeing it: then it stays.
    if (kernel_sigaction(kFaultSignals[i], nullptr, &present) == 0 &&
        (present.sa_sigaction == on_fault || present.sa_sigaction == on_system_call))
      kernel_sigaction(kFaultSignals[i], &page.value.of[i], nullptr);
  }
}

bool is_handled(int signal) { return page.value.in_place && index_of(signal) != kFaultSignalCount; }

const void* handlers_page(std::size_t& bytes) {
  bytes = sizeof page;
  return &page;
}

}  // namespace vmsrs::guest

int vmsrs_sigaction(int signal, const struct sigaction* action, struct sigaction* former) {
  return vmsrs::guest::program_action(signal, action, former);
}
