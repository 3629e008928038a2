// SPDX-License-Identifier: Apache-2.0
#include "suppression.hpp"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include "bounds.hpp"
#include "claims.hpp"
#include "containment.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "protect/store_by_value.hpp"
#include "protection_key.hpp"
#include "rescue.hpp"
#include "system_calls.hpp"
#include "thread.hpp"
#include "trace.hpp"

namespace vmsrs::guest {
namespace {

// Each callback once: at the crash, or, of a scope that was opened after it, when it is unwound.
void run_callbacks(ThreadContext& context, std::uint64_t above = 0) {
  if (!seal_holds(context)) return;
  for (std::uint32_t i = context.callback_count; i-- > 0;) {
    CrashCallback& callback = context.callbacks[i];
    if (callback.called != 0 || callback.depth <= above) continue;
    callback.called = 1;
    seal(context);  // before the call: it may fault
    callback.function(callback.argument);
    if (!seal_holds(context)) return;
  }
}

// Behind the callbacks, which let others go on: a crash is counted by two changes of a page's
// protection. Also when one of them does not return.
void count_once(ThreadContext& context) {
  if (context.uncounted == VMSRS_FAULT_NONE) return;
  const auto kind = static_cast<vmsrs_fault_kind>(context.uncounted);
  context.uncounted = VMSRS_FAULT_NONE;
  count_crash(kind, context.crash_instruction, context.label, seal_holds(context));
}

// What the program calls its user, for those who look at crashed ones. 0: nothing, or it was told.
std::uint32_t untold_label_bytes(const ThreadContext& context) {
  return seal_holds(context) && context.label_bytes <= VMSRS_LABEL_BYTES ? context.label_bytes : 0;
}

void note_label_told(ThreadContext& context) {
  if (untold_label_bytes(context) == 0) return;
  context.label_bytes = 0;
  seal(context);
}

void tell_label(ThreadContext& context) {
  const std::uint32_t bytes = untold_label_bytes(context);
  if (bytes == 0) return;
  call(VMSRS_CALL_USER_LABEL, {.rdi = to_register(context.label_text), .rsi = bytes},
       {context.label_text, bytes});
  note_label_told(context);
}

// The thread cannot be brought to its end point. It must not run on: it would run in a state that
// nobody knows. Its user stays suppressed, its slot held, and the operator is told.
[[noreturn]] void park() {
  tell_label(thread_context());
  call(VMSRS_CALL_USER_STUCK);
  sigset_t all;
  sigfillset(&all);
  for (;;) sigsuspend(&all);
}

}  // namespace

CallResult crash_user(vmsrs_fault_kind kind, std::uint64_t address, std::uint64_t instruction,
                      const Frame* at) {
  const ThreadContext& before = thread_context();
  const bool sealed = seal_holds(before);
  const std::int32_t thread = sealed && before.number != 0 ? before.number : this_thread();
  vmsrs_crash crash{};
  crash.fault = {kind, static_cast<std::uint32_t>(thread), address, instruction};
  crash.label_bytes = untold_label_bytes(before);
  memcpy(crash.label_text, before.label_text, crash.label_bytes);
  if (kind != VMSRS_FAULT_NONE && (!sealed || before.crash_ns == 0)) {
    const Frame here = {to_register(__builtin_frame_address(0)), 0};
    crash.trace_count = trace(at != nullptr ? *at : here, crash.trace);
  }
  // A user that was begun without a call: only its thread knows how deep it is in its scopes.
  const bool tells = sealed && control().areas != nullptr;
  CallArguments arguments = {.rdi = to_register(&crash),
                             .rsi = tells ? before.label : 0,
                             .rdx = tells ? before.depth : 0,
                             .r10 = vmsrs_fast_thread.set.count,
                             .r8 = vmsrs_fast_thread.set.sum,
                             .r9 = VMSRS_CRASH_TRACED};
  const ReadOnlyRange source = {&crash, sizeof crash};
  CallResult result = call_to_end(VMSRS_CALL_USER_CRASH, arguments, source);
  if (result.status == VMSRS_BAD_ADDRESS) {
    // A page of an eager region is gone. Suppression is in force; what is left is for collection.
    arguments.r9 |= VMSRS_CRASH_UNRESTORED;
    result = call_to_end(VMSRS_CALL_USER_CRASH, arguments, source);
  }
  if (result.status == VMSRS_OK || result.status == VMSRS_CRASHED) close_window_of(result.second);
  forbid_stores(strict_key());  // that a hook had allowed
  ThreadContext& context = thread_context();
  if (result.status == VMSRS_OK || result.status == VMSRS_CRASHED) note_crash_in_rescue(context);
  if (result.status == VMSRS_OK) {
    context.telling = 1;
    if (seal_holds(context)) {
      context.crash_kind = kind != VMSRS_FAULT_NONE ? kind : VMSRS_FAULT_OPERATOR;
      seal(context);
    }
    context.uncounted = kind;
    context.crash_instruction = instruction;
    start_time_bound(context);
    note_label_told(context);
    run_callbacks(context);
    count_once(context);
    begin_policing();
    context.telling = 0;
  }
  return result;
}

bool past_bounds(std::uint64_t fault_count) {
  if (fault_count >= control().fault_limit) return true;
  const ThreadContext& context = thread_context();
  const std::uint64_t crash_ns = seal_holds(context) ? context.crash_ns : 0;
  return crash_ns != 0 && now_ns() - crash_ns > control().suppression_limit_ns;
}

void meet_crash() {
  const ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.depth == 0) return;
  if (context.crash_ns == 0) crash_user(VMSRS_FAULT_NONE, 0, 0);
  if (past_bounds(0) && context.landing_depth != kLanded) unwind();
}

void hear_of_crash() {
  ThreadContext& context = thread_context();
  if (!in_suppression() || !seal_holds(context) || !user_is_crashed()) return;
  if (context.crash_ns == 0) crash_user(VMSRS_FAULT_NONE, 0, 0);
  tell_label(context);  // of one that its own end has crashed: nobody was told of that
}

void see_to_declared(std::uint64_t slot, std::uint64_t crash_epoch) {
  start_time_bound_of(slot, crash_epoch);
  if (EngineCalls().drain(slot))
    call_to_end(VMSRS_CALL_USER_DRAINED, {.rdi = slot, .rsi = crash_epoch});
}

void run_callbacks_within(ThreadContext& context, std::uint64_t depth) {
  context.telling = 1;
  run_callbacks(context, depth);
  context.telling = 0;
}

void unwind() {
  ThreadContext& context = thread_context();
  if (seal_holds(context)) close_window_of(context.slot);
  stop_by_value();
  run_callbacks(context);
  count_once(context);
  if (!seal_holds(context) || context.landing_depth == 0 || context.landing_depth == kLanded)
    park();
  context.landing_depth = kLanded;
  seal(context);
  siglongjmp(context.landing, 1);
}

bool in_suppression() {
  const vmsrs_window* window = attached_window();
  return window != nullptr &&
         (__atomic_load_n(&window->status.mode, __ATOMIC_ACQUIRE) & VMSRS_MODE_SUPPRESSION) != 0;
}

bool user_is_crashed() {
  const vmsrs_window* window = attached_window();
  if (window == nullptr || !in_suppression()) return false;
  const ThreadContext& context = thread_context();
  if (!seal_holds(context)) {
    // This thread has written over what the library knows of it (or never had a user): an error
    // that the library itself has found. The hypervisor knows whose it is.
    const CallResult result = crash_user(VMSRS_FAULT_CHECK, to_register(&context), 0);
    return result.status == VMSRS_OK || result.status == VMSRS_CRASHED;
  }
  if (context.depth == 0 || context.slot >= VMSRS_MAX_USERS) return false;
  const std::uint64_t word = __atomic_load_n(&window->users[context.slot], __ATOMIC_ACQUIRE);
  const std::uint64_t state = word & 3u;
  return (word >> 2) == (context.user_word >> 2) &&
         (state == VMSRS_USER_CRASHED || state == VMSRS_USER_STUCK);
}

bool scope_is_open() {
  ThreadContext& context = thread_context();
  if (attached_window() == nullptr) return false;
  if (seal_holds(context)) return context.depth != 0;
  const CallResult crash = crash_user(VMSRS_FAULT_CHECK, to_register(&context), 0);
  if (crash.status == VMSRS_OK || crash.status == VMSRS_CRASHED) return true;
  reset_user(context);  // it has had no user yet: the next time nobody need be asked
  return false;
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

bool vmsrs_user_crashed(void) { return user_is_crashed(); }

// A user's number: its generation, from 1 on, and its slot.
uint64_t vmsrs_user_number(void) {
  const ThreadContext& context = thread_context();
  if (attached_window() == nullptr || !seal_holds(context) || context.depth == 0) return 0;
  note_trapped();  // else its thread's next user might be the same to the engine
  return ((context.user_word >> 2) + 1) << kSlotBits | context.slot;
}

int vmsrs_user_label(const void* label, size_t bytes) {
  if (attached_window() == nullptr) return fail_status("vmsrs_user_label", VMSRS_NOT_ATTACHED);
  ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.depth == 0)
    return fail_status("vmsrs_user_label", VMSRS_NO_USER);
  if (bytes > VMSRS_LABEL_BYTES)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_user_label: %zu bytes: a label has at most %u", bytes,
                VMSRS_LABEL_BYTES);
  if (label == nullptr && bytes != 0)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_user_label: the label is NULL");
  if (context.crash_ns != 0) return fail_status("vmsrs_user_label", VMSRS_CRASHED);
  std::uint8_t text[VMSRS_LABEL_BYTES] = {};  // a fault while it is read finds the context whole
  if (bytes != 0) memcpy(text, label, bytes);
  if (!seal_holds(context) || context.crash_ns != 0)
    return fail_status("vmsrs_user_label", VMSRS_CRASHED);
  memcpy(context.label_text, text, sizeof text);
  context.label_bytes = static_cast<std::uint32_t>(bytes);
  seal(context);
  return 0;
}

uint64_t vmsrs_read_begin(void) {
  const vmsrs_window* window = attached_window();
  return window != nullptr ? __atomic_load_n(&window->status.mode, __ATOMIC_ACQUIRE) : 0;
}

bool vmsrs_read_was_whole(uint64_t began) {
  asm volatile("" : : : "memory");
  return vmsrs_read_begin() == began;
}

int vmsrs_exposed(void) {
  if (attached_window() == nullptr) return fail_status("vmsrs_exposed", VMSRS_NOT_ATTACHED);
  if (vmsrs_fast_thread.own == 0) return fail_status("vmsrs_exposed", VMSRS_NO_USER);
  if (vmsrs_fast_thread.sampled == 0) return 0;
  const CallResult result = call(VMSRS_CALL_USER_EXPOSED);
  if (result.status != VMSRS_OK) return fail_status("vmsrs_exposed", result.status);
  return static_cast<int>(result.first);
}

int vmsrs_user_suppress(uint64_t user) {
  if (attached_window() == nullptr) return fail_status("vmsrs_user_suppress", VMSRS_NOT_ATTACHED);
  const std::uint64_t slot = user & (VMSRS_MAX_USERS - 1);
  const CallResult result =
      call(VMSRS_CALL_USER_DECLARE, {.rdi = slot, .rsi = (user >> kSlotBits) - 1});
  if (result.status == VMSRS_NOT_FOUND)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_user_suppress: the user has ended");
  if (result.status != VMSRS_OK) return fail_status("vmsrs_user_suppress", result.status);
  see_to_declared(slot, result.first);
  return 0;
}

int crash_suppression_os(enum vmsrs_fault_kind kind, const void* address) {
  if (attached_window() == nullptr) return fail_status("crash_suppression_os", VMSRS_NOT_ATTACHED);
  if (kind <= VMSRS_FAULT_NONE || kind >= VMSRS_FAULT_KIND_COUNT)
    return fail(VMSRS_ERROR_ARGUMENT, "crash_suppression_os: %d is no vmsrs_fault_kind",
                static_cast<int>(kind));
  const ThreadContext& context = thread_context();
  if (control().areas != nullptr && seal_holds(context) && context.depth == 0)
    return fail_status("crash_suppression_os", VMSRS_NO_USER);
  const CallResult result =
      crash_user(kind, to_register(address), to_register(__builtin_return_address(0)));
  if (result.status == VMSRS_OK) return 0;
  if (result.status != VMSRS_CRASHED) return fail_status("crash_suppression_os", result.status);
  if (past_bounds(result.first)) unwind();
  return 1;
}
