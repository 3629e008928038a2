// SPDX-License-Identifier: Apache-2.0
#include "fault.hpp"

#include <errno.h>
#include <ucontext.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

#include "bounds.hpp"
#include "containment.hpp"
#include "control.hpp"
#include "default_action.hpp"
#include "dump.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "handlers.hpp"
#include "protect/store_by_value.hpp"
#include "protection_key.hpp"
#include "rescue.hpp"
#include "step.hpp"
#include "suppression.hpp"
#include "thread.hpp"
#include "unprotected.hpp"

namespace vmsrs::guest {
namespace {

constexpr std::uint64_t kNullBytes = 64 * 1024;
constexpr std::uint64_t kStackReach = 64 * 1024;  // of an access that may be a stack overflow
constexpr std::uint64_t kRedZone = 128;           // below the stack pointer (System V ABI, 3.2.2)
constexpr std::uint64_t kStackReserve = 24 * 1024;
constexpr std::uint64_t kStackEnd = 8 * 1024;
constexpr greg_t kGeneralProtection = 13;

std::uint64_t distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

// An access near the stack pointer, and the stack is not there (any more).
bool is_stack_overflow(std::uint64_t address, const ucontext_t& context) {
  const auto stack = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RSP]);
  return distance(address, stack) < kStackReach &&
         !(touch_page(stack, false) && touch_page(stack - kRedZone, false));
}

// raise(), abort(), a failed assert, std::terminate: the signal comes out of the thread's own
// tgkill, whose arguments are still in the registers. One that another thread has sent does not
// look so.
bool is_raised(int signal, const siginfo_t& info, const ucontext_t& context) {
  const auto& registers = context.uc_mcontext.gregs;
  return info.si_code == SI_TKILL && info.si_pid == getpid() &&
         registers[REG_RCX] == registers[REG_RIP] &&  // behind a SYSCALL instruction
         registers[REG_RAX] == 0 && registers[REG_RDI] == info.si_pid &&
         registers[REG_RSI] == this_thread() && registers[REG_RDX] == signal;
}

// Who single-steps a program, or watches its memory, does so on purpose.
bool is_step(int signal, const siginfo_t& info, const ucontext_t& context) {
  return is_single_step(signal, info, context) ||
         (signal == SIGTRAP && info.si_code == TRAP_HWBKPT);
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
    case SIGTRAP:
      return VMSRS_FAULT_ILLEGAL;
    default:
      break;
  }
  if (info.si_code == SI_TKILL) return VMSRS_FAULT_WILD;  // raised: there is no address
  // Linux gives no address with a general-protection fault, which is what a non-canonical one is.
  if (context.uc_mcontext.gregs[REG_TRAPNO] == kGeneralProtection) return VMSRS_FAULT_NON_CANONICAL;
  const auto address = reinterpret_cast<std::uint64_t>(info.si_addr);
  if (address < kNullBytes) return VMSRS_FAULT_NULL;
  return is_stack_overflow(address, context) ? VMSRS_FAULT_STACK : VMSRS_FAULT_WILD;
}

// Faults of the handler itself (a callback's, say) nest on the alternate stack: is there room for
// one more? The kernel says where that stack is, so nothing that a user can damage decides.
bool stack_is_short(const ucontext_t& context, std::uint64_t reserve = kStackReserve) {
  const auto here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  const auto bottom = reinterpret_cast<std::uint64_t>(context.uc_stack.ss_sp);
  if (context.uc_stack.ss_size == 0 || here < bottom || here - bottom >= context.uc_stack.ss_size)
    return false;  // not on it
  return here - bottom < reserve;
}

// Of a user that has crashed already what comes is contained to its end.
bool is_first_fault() {
  const ThreadContext& context = thread_context();
  return !seal_holds(context) || context.crash_ns == 0;
}

bool has_no_user() {
  const ThreadContext& context = thread_context();
  return seal_holds(context) && context.depth == 0;
}

}  // namespace

void on_fault(int signal, siginfo_t* info, void* ucontext) {
  auto& context = *static_cast<ucontext_t*>(ucontext);
  // Whoever has lost its thread pointer faults in the next line, and again. It has to end here:
  // once such frames have left the alternate stack Linux begins at its top anew, for ever.
  if (stack_is_short(context, kStackEnd)) return take_default(signal, *info);
  const int saved_errno = errno;
  forbid_stores(strict_key());  // Linux lets a handler do less still
  const KeyFault key_fault = meet_key_fault(signal, *info, context);
  if (key_fault == KeyFault::kLoad || take_step(signal, *info, context)) {
    errno = saved_errno;
    return;
  }
  // A user that had crashed goes no further; of others nothing is contained any more.
  if (is_unprotected()) (void)may_store_unprotected();
  const auto instruction = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  const bool raised = is_raised(signal, *info, context);
  // Sent by somebody: no fault. Or the thread has no user, or one in advance that it has not begun.
  if ((info->si_code <= 0 && !raised) || is_step(signal, *info, context) ||
      attached_window() == nullptr || has_no_user() ||
      (is_first_fault() && !contains_fault(signal, instruction))) {
    chain(signal, info, ucontext);
    errno = saved_errno;
    return;
  }
  const bool to_strict = key_fault == KeyFault::kStore;
  const vmsrs_fault_kind kind = to_strict ? VMSRS_FAULT_WILD : kind_of(signal, *info, context);
  if (to_strict)
    fail(VMSRS_ERROR_STATE,
         "a plain store to %p, by the instruction at %#llx: that is memory of a strict region, to "
         "which only the library's own functions store",
         info->si_addr, static_cast<unsigned long long>(instruction));
  const auto& registers = context.uc_mcontext.gregs;
  const Frame at = {static_cast<std::uint64_t>(registers[REG_RSP]),
                    static_cast<std::uint64_t>(registers[REG_RBP])};
  const CallResult crash = crash_user(
      kind, raised ? 0 : reinterpret_cast<std::uint64_t>(info->si_addr), instruction, &at);
  if (crash.status != VMSRS_OK && crash.status != VMSRS_CRASHED) {
    chain(signal, info, ucontext);
    errno = saved_errno;
    return;
  }
  if (crash.status == VMSRS_OK) leave_dump(signal, *info, context);
  forbid_stores_of(context);
  sigdelset(&context.uc_sigmask, control().time_signal);
  sigdelset(&context.uc_sigmask, SIGSYS);
  if (past_bounds(crash.first)) unwind();
  // Who gives up, or stops at a breakpoint that nobody has set, has nothing to go on with. abort()
  // has let go of its own lock.
  const bool give_up = raised || signal == SIGTRAP || stack_is_short(context) ||
                       kind == VMSRS_FAULT_STACK || is_instruction_fetch(signal, *info, context);
  if (give_up || !is_in_libc(instruction)) leave_by_rescue(context);
  if (give_up ||
      step_over(control().decoder, control().xsave, signal, context) == StepOver::kCannotStep) {
    leave_by_rescue(context);
    unwind();
  }
  go_on_by_value(context);
  errno = saved_errno;
}

}  // namespace vmsrs::guest
