// SPDX-License-Identifier: Apache-2.0
#include "fault.hpp"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

#include "bounds.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "step.hpp"
#include "suppression.hpp"
#include "thread.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kNullBytes = 64 * 1024;
constexpr std::uint64_t kStackReach = 64 * 1024;  // of an access that may be a stack overflow
constexpr std::uint64_t kRedZone = 128;           // below the stack pointer (System V ABI, 3.2.2)
constexpr std::uint64_t kStackReserve = 24 * 1024;
constexpr greg_t kGeneralProtection = 13;

std::uint64_t distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

// An access near the stack pointer, and the stack is not there (any more).
bool is_stack_overflow(std::uint64_t address, const ucontext_t& context) {
  const auto stack = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RSP]);
  return distance(address, stack) < kStackReach &&
         !(touch_page(stack, false) && touch_page(stack - kRedZone, false));
}

// abort(), a failed assert, std::terminate: the signal comes out of the thread's own tgkill, whose
// arguments are still in the registers. One that another thread has sent does not look so.
bool is_own_abort(int signal, const siginfo_t& info, const ucontext_t& context) {
  const auto& registers = context.uc_mcontext.gregs;
  return signal == SIGABRT && info.si_code == SI_TKILL && info.si_pid == getpid() &&
         registers[REG_RCX] == registers[REG_RIP] &&  // behind a SYSCALL instruction
         registers[REG_RAX] == 0 && registers[REG_RDI] == info.si_pid &&
         registers[REG_RSI] == this_thread() && registers[REG_RDX] == SIGABRT;
}

vmsrs_fault_kind kind_of(int signal, const siginfo_t& info, const ucontext_t& context) {
  switch (signal) {
    case SIGABRT:
      return VMSRS_FAULT_ABORT;
    case SIGBUS:
      return VMSRS_FAULT_BUS;
    case SIGFPE:
      return VMSRS_FAULT_ARITHMETIC;
    case SIGILL:
      return VMSRS_FAULT_ILLEGAL;
    default:
      break;
  }
  // Linux gives no address with a general-protection fault, which is what a non-canonical one is.
  if (context.uc_mcontext.gregs[REG_TRAPNO] == kGeneralProtection) return VMSRS_FAULT_NON_CANONICAL;
  const auto address = reinterpret_cast<std::uint64_t>(info.si_addr);
  if (address < kNullBytes) return VMSRS_FAULT_NULL;
  return is_stack_overflow(address, context) ? VMSRS_FAULT_STACK : VMSRS_FAULT_WILD;
}

// Faults of the handler itself (a callback's, say) nest on the alternate stack: is there room for
// one more? The kernel says where that stack is, so nothing that a user can damage decides.
bool stack_is_short(const ucontext_t& context) {
  const auto here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  const auto bottom = reinterpret_cast<std::uint64_t>(context.uc_stack.ss_sp);
  if (context.uc_stack.ss_size == 0 || here < bottom || here - bottom >= context.uc_stack.ss_size)
    return false;  // not on it
  return here - bottom < kStackReserve;
}

std::size_t index_of(int signal) {
  std::size_t index = 0;
  while (index + 1 < kFaultSignalCount && kFaultSignals[index] != signal) ++index;
  return index;
}

// As if the library were not there. A default action that ends the process is let happen at the
// faulting instruction itself, so that the core shows it.
void chain(int signal, siginfo_t* info, void* ucontext) {
  const struct sigaction& previous = control().previous[index_of(signal)];
  const bool from_processor = info->si_code > 0;
  if ((previous.sa_flags & SA_SIGINFO) == 0 &&
      (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN)) {
    if (previous.sa_handler == SIG_IGN && !from_processor) return;
    struct sigaction fallback {};
    fallback.sa_handler = SIG_DFL;
    sigaction(signal, &fallback, nullptr);
    if (!from_processor) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
    return;
  }
  sigset_t mask = previous.sa_mask;
  if ((previous.sa_flags & SA_NODEFER) == 0) sigaddset(&mask, signal);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);  // the return from our own handler undoes it
  if ((previous.sa_flags & SA_SIGINFO) != 0)
    previous.sa_sigaction(signal, info, ucontext);
  else
    previous.sa_handler(signal);
}

bool is_between_users() {
  const ThreadContext& context = thread_context();
  return control().areas != nullptr && seal_holds(context) && context.depth == 0 &&
         context.kept_word != 0;
}

}  // namespace

void on_fault(int signal, siginfo_t* info, void* ucontext) {
  const int saved_errno = errno;
  auto& context = *static_cast<ucontext_t*>(ucontext);
  const bool aborts = is_own_abort(signal, *info, context);
  // Sent by somebody: no fault. Or the thread has a user in advance that it has not begun.
  if ((info->si_code <= 0 && !aborts) || attached_window() == nullptr || is_between_users()) {
    chain(signal, info, ucontext);
    errno = saved_errno;
    return;
  }
  const vmsrs_fault_kind kind = kind_of(signal, *info, context);
  const CallResult crash =
      crash_user(kind, aborts ? 0 : reinterpret_cast<std::uint64_t>(info->si_addr),
                 static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]));
  if (crash.status != VMSRS_OK && crash.status != VMSRS_CRASHED) {
    chain(signal, info, ucontext);
    errno = saved_errno;
    return;
  }
  sigdelset(&context.uc_sigmask, control().time_signal);
  // abort() does not return: there is nothing to go on with. It has let go of its own lock.
  const bool give_up = aborts || past_bounds(crash.first) || stack_is_short(context) ||
                       kind == VMSRS_FAULT_STACK || is_instruction_fetch(signal, *info, context);
  if (give_up ||
      step_over(control().decoder, control().xsave, signal, context) == Step::kCannotStep)
    unwind();
  errno = saved_errno;
}

int install_handlers() {
  ControlBlock& block = control_page.block;
  // A real-time signal that nobody else has a handler for.
  block.time_signal = 0;
  for (int signal = SIGRTMAX - 1; signal >= SIGRTMIN && block.time_signal == 0; --signal) {
    struct sigaction present {};
    if (sigaction(signal, nullptr, &present) == 0 && (present.sa_flags & SA_SIGINFO) == 0 &&
        present.sa_handler == SIG_DFL)
      block.time_signal = signal;
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
  sigaction(block.time_signal, &action, &block.previous_time);
  // A fault inside the handler (in a callback) must come through.
  action.sa_flags |= SA_NODEFER;
  action.sa_sigaction = on_fault;
  for (std::size_t i = 0; i < kFaultSignalCount; ++i)
    sigaction(kFaultSignals[i], &action, &block.previous[i]);
  return 0;
}

void remove_handlers() {
  const ControlBlock& block = control();
  for (std::size_t i = 0; i < kFaultSignalCount; ++i) {
    struct sigaction present {};
    // Somebody may have put a handler over ours since: then it stays.
    if (sigaction(kFaultSignals[i], nullptr, &present) == 0 && present.sa_sigaction == on_fault)
      sigaction(kFaultSignals[i], &block.previous[i], nullptr);
  }
  sigaction(block.time_signal, &block.previous_time, nullptr);
}

}  // namespace vmsrs::guest
