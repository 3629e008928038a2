// SPDX-License-Identifier: Apache-2.0
#include "rescue.hpp"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <signal.h>
#include <sys/syscall.h>
#include <vmsrs/vmsrs.h>

#include <cstring>

#include "call.hpp"
#include "claims.hpp"
#include "control.hpp"
#include "error.hpp"
#include "exceptions_in_flight.hpp"
#include "gate.hpp"
#include "guest_call.hpp"
#include "locks.hpp"
#include "protect/store_by_value.hpp"
#include "scope_body.h"
#include "suppression.hpp"
#include "thread.hpp"
#include "user.hpp"

namespace vmsrs::guest {
namespace {

std::uint64_t sum_of(const RescuePoint& point) {
  std::uint64_t sum = control().seal_key ^ to_register(&point);
  const auto add = [&](std::uint64_t word) {
    sum = (sum ^ word) * VMSRS_TAG_BODY_FACTOR;
    sum ^= sum >> 29;
  };
  add(to_register(point.outer));
  add(point.depth);
  // The registers only: no signal mask is kept in it.
  std::uint64_t registers[sizeof(__jmp_buf) / sizeof(std::uint64_t)];
  std::memcpy(registers, point.landing->__jmpbuf, sizeof registers);
  for (const std::uint64_t word : registers) add(word);
  return sum;
}

// The innermost one that is still sound; nullptr: there is none.
RescuePoint* innermost(const ThreadContext& context) {
  RescuePoint* const point = context.rescue;
  const bool sound = point != nullptr && point->sum == sum_of(*point) &&
                     point->depth <= context.depth && context.landing_depth != kLanded;
  return sound ? point : nullptr;
}

void set_rescue(ThreadContext& context, RescuePoint* point) {
  context.rescue = point;
  seal(context);
}

void pop(RescuePoint& point) {
  ThreadContext& context = thread_context();
  if (seal_holds(context) && context.rescue == &point) set_rescue(context, point.outer);
}

struct Rescued {
  int (*function)(void*);
  void* argument;
  int value;
  RescuePoint point;
};

void call_function(void* rescued) {
  auto& call = *static_cast<Rescued*>(rescued);
  call.value = call.function(call.argument);
}

void left_by_force(void* rescued) { pop(static_cast<Rescued*>(rescued)->point); }

// The frame that the thread comes back to: it keeps nothing in variables that change. True: by a
// crash.
[[gnu::noinline]] bool run_rescued(ThreadContext& context, Rescued& call) {
  const ExceptionsInFlight before = exceptions_in_flight();
  if (sigsetjmp(call.point.landing, 0) != 0) {
    put_exceptions_back(before);
    return true;
  }
  call.point.sum = sum_of(call.point);
  set_rescue(context, &call.point);
  vmsrs_guest_call_body(call_function, &call, left_by_force, &call);
  return false;
}

}  // namespace

void note_crash_in_rescue(ThreadContext& context) {
  if (!seal_holds(context)) return;
  if (RescuePoint* const point = innermost(context)) point->crashed = 1;
}

void leave_by_rescue(const ucontext_t& interrupted) {
  ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.telling != 0 || context.not_unwound != 0) return;
  RescuePoint* const point = innermost(context);
  if (point == nullptr) return;
  close_window_of(context.slot);
  stop_by_value();
  run_callbacks_within(context, point->depth);
  constexpr long kSignalSetBytes = 8;  // as the kernel has it
  vmsrs_gate_call(SYS_rt_sigprocmask, static_cast<long>(SIG_SETMASK), &interrupted.uc_sigmask, 0L,
                  kSignalSetBytes);
  siglongjmp(point->landing, 1);
}

bool is_in_libc(std::uint64_t instruction) {
  dl_find_object found, libc;
  return _dl_find_object(reinterpret_cast<void*>(instruction), &found) == 0 &&
         _dl_find_object(const_cast<char*>(gnu_get_libc_version()), &libc) == 0 &&
         found.dlfo_link_map == libc.dlfo_link_map;
}

void drop_rescues(ThreadContext& context, std::uint64_t depth) {
  while (context.rescue != nullptr && context.rescue->depth >= depth)
    context.rescue = context.rescue->outer;
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_rescue(int (*function)(void*), void* argument, int error) {
  ThreadContext& context = thread_context();
  if (attached_window() == nullptr || !seal_holds(context) || context.depth == 0)
    return function(argument);
  Rescued call{};
  call.function = function;
  call.argument = argument;
  call.point.outer = context.rescue;
  call.point.depth = context.depth;
  const std::uint32_t held = held_lock_count();
  if (run_rescued(context, call)) {
    abandon_calls();
    // Scopes that were opened in the function have lost their frames.
    if (seal_holds(context) && context.depth > call.point.depth) close_scopes(call.point.depth + 1);
    pop(call.point);
    let_go_of_locks_since(held);  // frames that would have are gone
    return error;
  }
  hear_of_crash();
  pop(call.point);
  return call.point.crashed != 0 ? error : call.value;
}

enum vmsrs_fault_kind vmsrs_user_error(void) {
  if (!user_is_crashed()) return VMSRS_FAULT_NONE;
  hear_of_crash();
  const ThreadContext& context = thread_context();
  const bool known = seal_holds(context) && context.crash_kind != VMSRS_FAULT_NONE;
  return known ? static_cast<vmsrs_fault_kind>(context.crash_kind) : VMSRS_FAULT_CHECK;
}
