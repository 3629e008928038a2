// SPDX-License-Identifier: Apache-2.0
#include "user.hpp"

#include <signal.h>
#include <vmsrs/vmsrs.h>

#include <functional>
#include <optional>

#include "bounds.hpp"
#include "claims.hpp"
#include "containment.hpp"
#include "control.hpp"
#include "effects.hpp"
#include "error.hpp"
#include "exceptions_in_flight.hpp"
#include "guest_call.hpp"
#include "locks.hpp"
#include "rescue.hpp"
#include "scope_body.h"
#include "suppression.hpp"
#include "suspended.hpp"
#include "system_calls.hpp"
#include "thread.hpp"
#include "unprotected.hpp"

namespace vmsrs::guest {

static int enter_scope(ThreadContext& context, void (*on_crash)(void*), void* argument,
                       std::uint64_t depth);

namespace {

// A fault whose signal is blocked would kill the process: within a scope none of ours is.
class SignalsUnblocked {
 public:
  SignalsUnblocked() {
    ThreadContext& context = thread_context();
    looked_ = !control().signal_mask_stays || context.signals_open != 1;
    if (!looked_) return;
    context.signals_open = control().signal_mask_stays;
    pthread_sigmask(SIG_UNBLOCK, &control().signals, &before_);
  }
  // After unwinding out of a handler: the mask as it was in the scope.
  void restore_within() const {
    if (looked_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    pthread_sigmask(SIG_UNBLOCK, &control().signals, nullptr);
  }
  void restore_before() const {
    if (control().signal_mask_stays) return;
    sigset_t blocked;
    sigandset(&blocked, &before_, &control().signals);
    if (!sigisemptyset(&blocked)) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  bool looked_;
  sigset_t before_;
};

void pop_scope(ThreadContext& context, std::uint64_t depth) {
  if (!seal_holds(context)) return;
  while (context.callback_count > 0 && context.callbacks[context.callback_count - 1].depth >= depth)
    --context.callback_count;
  if (context.landing_depth >= depth) context.landing_depth = 0;
  drop_rescues(context, depth);
  context.depth = depth - 1;
  seal(context);
}

constexpr int kNotFinished = -1000;

bool in_scope(const ThreadContext& context) {
  return control().areas != nullptr && context.depth != 0;
}

// A user that has just ended well: its thread keeps the slot for the next one, unless the slot
// rests. `mode`: as it was before that was known.
void keep_user(ThreadContext& context, std::uint64_t word, std::uint64_t mode) {
  const std::uint32_t slot = context.slot;
  if ((word & 3) != VMSRS_USER_ACTIVE) {
    reset_user(context);
    return leave_user();
  }
  forget_user(context);
  context.slot = slot;
  context.kept_word = word;
  context.kept_mode = mode;
  seal(context);
  leave_user();
  empty_write_set(slot, word);
}

std::uint64_t current_mode() {
  const vmsrs_window* const window = attached_window();
  return window != nullptr ? __atomic_load_n(&window->status.mode, __ATOMIC_ACQUIRE) : fast::kNever;
}

// The next user, without a call. False: there is none, or it is not ours any more: that moves the
// mode. The user's word in the window says so too, but the engine has just written it, and its line
// is far away.
bool take_kept_user(ThreadContext& context, const vmsrs_window& window, std::uint64_t label,
                    ScopeKind kind) {
  const std::uint64_t word = context.kept_word;
  if (control().areas == nullptr || word == 0 || context.slot >= VMSRS_MAX_USERS) return false;
  if (current_mode() != context.kept_mode &&
      (__atomic_load_n(&window.users[context.slot], __ATOMIC_ACQUIRE) != word ||
       (word & 3) != VMSRS_USER_ACTIVE))
    return false;
  context.user_word = word;
  context.kept_word = 0;
  context.label = label;
  take_user(context.slot, word, kind == ScopeKind::kReader);
  return true;
}

// The one call of a user that has stored something.
int finish_and_keep(ThreadContext& context, std::uint64_t mode) {
  const CallResult end = end_user(VMSRS_USER_KEEP);
  // Memory that it has stored to is gone: then nothing that it stored counts.
  if (end.status == VMSRS_BAD_ADDRESS) crash_user(VMSRS_FAULT_WILD, end.first, 0);
  if (end.status != VMSRS_OK) return kNotFinished;
  stop_time_bound(context);
  keep_user(context, end.second, mode);
  settle_effects(Ending::kFinished);
  return VMSRS_FINISHED;
}

int collect() {
  leave_user();
  end_policing();
  const CallResult result = call_to_end(VMSRS_CALL_USER_COLLECT);
  if (result.status == VMSRS_OK) {
    let_go_of_locks();
    settle_effects(Ending::kTakenBack);
    return VMSRS_SUPPRESSED;
  }
  if (result.status == VMSRS_NO_ENGINE) {
    let_go_of_locks();
    settle_effects(Ending::kTakenBack);
    return VMSRS_SUPPRESSED;
  }
  // What it polluted cannot be reached (its memory is gone, say): the operator must know.
  call(VMSRS_CALL_USER_STUCK);
  return fail_status("collection of a crashed user", result.status);
}

}  // namespace

int open_scope(std::uint64_t label, ScopeKind kind, void (*on_crash)(void*), void* argument,
               std::uint64_t& depth) {
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return fail_status("opening a user scope", VMSRS_NOT_ATTACHED);
  ThreadContext& context = thread_context();
  if (const int error = prepare_thread(context); error != 0) return error;
  const bool sealed = seal_holds(context);
  const bool reader = kind == ScopeKind::kReader;
  if (reader && sealed && context.depth != 0 && vmsrs_fast_thread.reader == 0)
    return fail(VMSRS_ERROR_STATE,
                "opening a reader's scope: this thread has a user already, which may have stored: "
                "open the reader's scope outside of it");
  if (sealed && context.depth == 0)
    if (const int error = check_label(label); error != 0) return error;
  if (sealed && in_scope(context) && !user_is_crashed()) {
    depth = context.depth + 1;
    set_scope_depth(depth);
    return enter_scope(context, on_crash, argument, depth);
  }
  hear_of_crash();
  if (sealed && take_kept_user(context, *window, label, kind)) {
    drop_effects();  // of a user whose end was refused
    depth = 1;
    return enter_scope(context, on_crash, argument, depth);
  }
  // Where there are claims it is the library that stores, and that refuses to: the thread goes on
  // with the next user without a call, who need not be a reader.
  const bool tells = reader && control().areas == nullptr;
  const CallArguments arguments = {.rdi = label, .rsi = tells ? VMSRS_USER_READER : 0u};
  CallResult begin = call(VMSRS_CALL_USER_BEGIN, arguments);
  // The thread's former user is still there, for its collection failed: now it may not.
  if (begin.status == VMSRS_CRASHED && call_to_end(VMSRS_CALL_USER_COLLECT).status == VMSRS_OK) {
    settle_effects(Ending::kTakenBack);
    begin = call(VMSRS_CALL_USER_BEGIN, arguments);
  }
  if (begin.status == VMSRS_CRASHED) begin.status = VMSRS_USER_EXISTS;
  if (begin.status != VMSRS_OK) return fail_status("opening a user scope", begin.status);
  depth = begin.second;
  if (depth == 1) {
    reset_user(context);
    drop_effects();
    context.slot = static_cast<std::uint32_t>(begin.first);
    context.label = label;
    context.number = this_thread();
    note_thread_of(context.slot, context.number);
    if (context.slot < VMSRS_MAX_USERS) {
      context.user_word = __atomic_load_n(&window->users[context.slot], __ATOMIC_ACQUIRE);
      take_user(context.slot, context.user_word, reader);
    }
  } else if (!seal_holds(context)) {
    return 0;  // damaged by this very thread: no landing point and no callback any more
  }
  return enter_scope(context, on_crash, argument, depth);
}

// A suspended user's. VMSRS_SUPPRESSED: it has crashed meanwhile, and is over.
int reopen_scope(const char* name, std::uint64_t user, void (*on_crash)(void*), void* argument) {
  ThreadContext& context = thread_context();
  if (const int error = prepare_thread(context); error != 0) return error;
  if (seal_holds(context) && context.depth != 0)
    return fail(VMSRS_ERROR_STATE, "%s: this thread has a scope open", name);
  hear_of_crash();
  const std::uint64_t status = resume_user(context, user);
  if (status == VMSRS_NOT_FOUND)
    return fail(VMSRS_ERROR_ARGUMENT, "%s: no user of that number is suspended in this process",
                name);
  if (status != VMSRS_OK && status != VMSRS_CRASHED) return fail_status(name, status);
  constexpr std::uint64_t kOutermost = 1;
  const int error = enter_scope(context, on_crash, argument, kOutermost);
  if (error != 0 || status == VMSRS_OK) return error;
  hear_of_crash();
  return close_scopes(kOutermost);
}

int enter_scope(ThreadContext& context, void (*on_crash)(void*), void* argument,
                std::uint64_t depth) {
  if (on_crash != nullptr && context.callback_count == kMaxCallbacks) {
    close_scopes(depth);
    return fail(VMSRS_ERROR_STATE, "opening a user scope: more than %u nested on_crash callbacks",
                kMaxCallbacks);
  }
  context.depth = depth;
  if (on_crash != nullptr)
    context.callbacks[context.callback_count++] = {on_crash, argument, depth, 0};
  seal(context);
  return 0;
}

namespace {

// Nobody commits anything, and nobody takes anything back: what is in memory stays.
int close_scopes_unprotected(ThreadContext& context, std::uint64_t depth) {
  const bool crashed = seal_holds(context) && context.crash_ns != 0;
  const int outcome = crashed ? VMSRS_SUPPRESSED : VMSRS_FINISHED;
  if (depth > 1) {
    pop_scope(context, depth);
    return outcome;
  }
  end_policing();
  stop_time_bound(context);
  reset_user(context);
  leave_user();
  if (crashed) let_go_of_locks();
  settle_effects(crashed ? Ending::kTakenBack : Ending::kFinished);
  return outcome;
}

}  // namespace

int close_scopes(std::uint64_t depth, Left left) {
  ThreadContext& context = thread_context();
  if (is_unprotected()) return close_scopes_unprotected(context, depth);
  // What was to happen at its end cannot be told any more: then its end cannot be a good one.
  if (depth == 1 && !effects_hold()) crash_user(VMSRS_FAULT_CHECK, 0, 0);
  if (depth == 1 && seal_holds(context) && context.suspends != 0 && !user_is_crashed()) {
    stop_time_bound(context);
    if (suspend_user(context)) return VMSRS_SUSPENDED;
  }
  const std::uint64_t mode = current_mode();
  if (control().areas != nullptr && seal_holds(context) && context.depth != 0 &&
      !user_is_crashed()) {
    if (depth > 1) {
      pop_scope(context, depth);
      set_scope_depth(depth - 1);
      return VMSRS_FINISHED;
    }
    if (!context.trapped && !may_have_stored(context.user_word)) {
      keep_user(context, context.user_word, mode);
      settle_effects(Ending::kFinished);
      return VMSRS_FINISHED;
    }
    if (const int outcome = finish_and_keep(context, mode); outcome != kNotFinished) return outcome;
  }
  if (is_unprotected()) return close_scopes_unprotected(context, depth);
  hear_of_crash();
  if (depth == 1 && in_suppression()) end_policing();
  const bool crashed = seal_holds(context) && context.crash_ns != 0;
  // Before the call: from here on the time bound must not unwind to a point that is behind us.
  if (depth == 1) {
    stop_time_bound(context);
    reset_user(context);
    leave_user();
  } else {
    pop_scope(context, depth);
  }
  CallResult end;
  do {
    end = end_user(left == Left::kUnwound ? VMSRS_USER_UNWOUND : 0);
    left = Left::kByItself;  // that is told once
    if (end.status == VMSRS_NO_ENGINE) {
      settle_effects(crashed ? Ending::kTakenBack : Ending::kFinished);
      return crashed ? VMSRS_SUPPRESSED : VMSRS_FINISHED;
    }
    if (end.status != VMSRS_OK && end.status != VMSRS_CRASHED)
      return fail_status("closing a user scope", end.status);
  } while (end.first >= depth);
  if (end.status != VMSRS_OK) return end.first == 0 ? collect() : VMSRS_SUPPRESSED;
  if (depth == 1) settle_effects(Ending::kFinished);
  return VMSRS_FINISHED;
}

namespace {

struct OpenScope {
  std::uint64_t depth;
  const SignalsUnblocked& signals;
};

// The body did not return: an exception, or the end of its thread, takes its frames and ours away.
// Nobody knows what is missing from the user's work: it has crashed, and this is its end point.
void leave_by_force(void* left) {
  const auto& scope = *static_cast<const OpenScope*>(left);
  ThreadContext& context = thread_context();
  if (seal_holds(context) && context.landing_depth == scope.depth) {
    context.landing_depth = kLanded;
    seal(context);
  }
  crash_user(VMSRS_FAULT_ABORT, 0, 0);
  end_holding();
  close_scopes(scope.depth);
  scope.signals.restore_before();
}

// The frame that unwinding comes back to: it must be alive while the body runs, and it keeps
// nothing in variables that change.
[[gnu::noinline]] bool run_body(ThreadContext& context, std::uint64_t depth, void (*body)(void*),
                                void* argument, OpenScope& scope) {
  const ExceptionsInFlight before = exceptions_in_flight();
  if (sigsetjmp(context.landing, 0) != 0) {
    put_exceptions_back(before);
    thread_context().not_unwound = 0;  // what held it back is gone with its frame
    return true;
  }
  context.landing_depth = depth;
  seal(context);
  begin_holding(__builtin_frame_address(0));
  vmsrs_guest_call_body(body, argument, leave_by_force, &scope);
  end_holding();
  if (in_suppression() && seal_holds(context) && user_is_crashed()) {
    context.landing_depth = kLanded;
    seal(context);
  }
  return false;
}

constexpr std::uint64_t bit_of(std::uint64_t depth) { return depth < 64 ? 1ull << depth : 0; }

// Remembers whether the scope at that depth ends with its body. Mostly it is as the thread's last
// one.
void note_kind_of_scope(std::uint64_t depth, bool ends_with_body) {
  ThreadContext& context = thread_context();
  const std::uint64_t others = context.run_scopes & ~bit_of(depth);
  const std::uint64_t scopes = others | (ends_with_body ? bit_of(depth) : 0);
  if (scopes == context.run_scopes || !seal_holds(context)) return;
  context.run_scopes = scopes;
  seal(context);
}

int run_unprotected(void (*body)(void*), void* argument) {
  body(argument);
  return VMSRS_FINISHED;
}

// `open(depth)` opens its scope: 0, or what the whole of it comes to.
template <typename Open>
int run_scope(const char* name, void (*body)(void*), void* argument, Open open) {
  if (body == nullptr) return fail(VMSRS_ERROR_ARGUMENT, "%s: body is NULL", name);
  if (is_unprotected()) return run_unprotected(body, argument);
  if (attached_window() == nullptr) return fail_status(name, VMSRS_NOT_ATTACHED);
  const SignalsUnblocked signals;
  std::uint64_t depth = 0;
  int outcome = open(depth);
  if (outcome != 0 && is_unprotected()) {
    signals.restore_before();
    return run_unprotected(body, argument);
  }
  if (outcome == 0) {
    ThreadContext& context = thread_context();
    note_kind_of_scope(depth, true);
    bool unwound = false;
    OpenScope scope = {depth, signals};
    if (seal_holds(context) && context.landing_depth == 0) {
      unwound = run_body(context, depth, body, argument, scope);
      if (unwound) {
        abandon_calls();
        signals.restore_within();
      }
    } else {
      vmsrs_guest_call_body(body, argument, leave_by_force, &scope);
    }
    outcome = close_scopes(depth, unwound ? Left::kUnwound : Left::kByItself);
    if (unwound) let_go_of_locks();  // where the user goes on, or its collection failed
    if (unwound && outcome == VMSRS_SUPPRESSED) outcome = VMSRS_UNWOUND;
  }
  signals.restore_before();
  return outcome;
}

// A frame that its users are unwound to, and do not know.
struct UsersFrame {
  void* at;  // nullptr: the thread has none
  bool has_user;
  std::optional<SignalsUnblocked> signals;  // since the user began
};
constinit thread_local UsersFrame users_frame{};

// A longjmp() may have left it behind: the stack has grown up past it.
bool frame_is_alive(const void* here) {
  return users_frame.at != nullptr && std::less<>()(here, users_frame.at);
}

// As run_body(): alive while the body runs, and nothing is kept in variables that change.
[[gnu::noinline]] bool run_users(void (*body)(void*), void* argument) {
  const ExceptionsInFlight before = exceptions_in_flight();
  if (sigsetjmp(thread_context().landing, 0) != 0) {
    put_exceptions_back(before);
    thread_context().not_unwound = 0;  // what held it back is gone with its frame
    return true;
  }
  users_frame.at = __builtin_frame_address(0);
  body(argument);
  return false;
}

int close_user_in_frame(bool unwound) {
  users_frame.has_user = false;
  ThreadContext& context = thread_context();
  if (unwound) {
    abandon_calls();
    users_frame.signals->restore_within();
  } else {
    end_holding();
    if (in_suppression() && seal_holds(context) && user_is_crashed()) {
      context.landing_depth = kLanded;
      seal(context);
    }
  }
  int outcome = close_scopes(1, unwound ? Left::kUnwound : Left::kByItself);
  if (unwound) let_go_of_locks();
  if (unwound && outcome == VMSRS_SUPPRESSED) outcome = VMSRS_UNWOUND;
  users_frame.signals->restore_before();
  return outcome;
}

template <typename Open>
int begin_scope(const char* name, Open open) {
  if (is_unprotected()) return 0;
  if (attached_window() == nullptr) return fail_status(name, VMSRS_NOT_ATTACHED);
  const SignalsUnblocked signals;
  std::uint64_t depth = 0;
  const int outcome = open(depth);
  if (outcome != 0)
    signals.restore_before();
  else
    note_kind_of_scope(depth, false);
  return is_unprotected() ? 0 : outcome;
}

int run_user(const char* name, ScopeKind kind, std::uint64_t label, void (*body)(void*),
             void* argument, void (*on_crash)(void*), void* on_crash_argument) {
  return run_scope(name, body, argument, [&](std::uint64_t& depth) {
    return open_scope(label, kind, on_crash, on_crash_argument, depth);
  });
}

int begin_user(const char* name, ScopeKind kind, std::uint64_t label) {
  return begin_scope(
      name, [&](std::uint64_t& depth) { return open_scope(label, kind, nullptr, nullptr, depth); });
}

}  // namespace

bool has_frame() { return users_frame.at != nullptr; }

bool run_in_frame(void (*body)(void*), void* argument) {
  if (frame_is_alive(__builtin_frame_address(0))) {
    body(argument);
    return false;
  }
  if (users_frame.has_user) close_user_in_frame(false);
  const bool unwound = run_users(body, argument);
  if (users_frame.has_user) close_user_in_frame(unwound);
  users_frame.at = nullptr;
  return unwound;
}

int begin_user_in_frame(std::uint64_t label, void (*on_crash)(void*), void* argument) {
  if (users_frame.at == nullptr || attached_window() == nullptr)
    return fail(VMSRS_ERROR_STATE, "beginning a user: the thread has no frame for it");
  if (users_frame.has_user) close_user_in_frame(false);
  users_frame.signals.emplace();
  std::uint64_t depth = 0;
  if (const int error = open_scope(label, ScopeKind::kUser, on_crash, argument, depth);
      error != 0) {
    users_frame.signals->restore_before();
    return error;
  }
  note_kind_of_scope(depth, true);
  ThreadContext& context = thread_context();
  if (seal_holds(context)) {
    context.landing_depth = depth;
    seal(context);
  }
  begin_holding(users_frame.at);
  users_frame.has_user = true;
  return 0;
}

int end_user_in_frame() {
  if (!users_frame.has_user) return VMSRS_ERROR_STATE;
  return close_user_in_frame(false);
}

void forget_user_in_frame() {
  users_frame.has_user = false;
  end_holding();
  reset_user(thread_context());
  leave_user();
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_run_user(uint64_t label, void (*body)(void*), void* argument, void (*on_crash)(void*),
                   void* on_crash_argument) {
  return run_user("vmsrs_run_user", ScopeKind::kUser, label, body, argument, on_crash,
                  on_crash_argument);
}

int vmsrs_run_reader(uint64_t label, void (*body)(void*), void* argument, void (*on_crash)(void*),
                     void* on_crash_argument) {
  return run_user("vmsrs_run_reader", ScopeKind::kReader, label, body, argument, on_crash,
                  on_crash_argument);
}

int vmsrs_run_resumed(uint64_t user, void (*body)(void*), void* argument, void (*on_crash)(void*),
                      void* on_crash_argument) {
  return run_scope("vmsrs_run_resumed", body, argument, [&](std::uint64_t& depth) {
    depth = 1;
    return reopen_scope("vmsrs_run_resumed", user, on_crash, on_crash_argument);
  });
}

int vmsrs_user_resume(uint64_t user) {
  return begin_scope("vmsrs_user_resume", [&](std::uint64_t& depth) {
    depth = 1;
    return reopen_scope("vmsrs_user_resume", user, nullptr, nullptr);
  });
}

int vmsrs_user_begin(uint64_t label) {
  return begin_user("vmsrs_user_begin", ScopeKind::kUser, label);
}

int vmsrs_reader_begin(uint64_t label) {
  return begin_user("vmsrs_reader_begin", ScopeKind::kReader, label);
}

int vmsrs_user_end(void) {
  ThreadContext& context = thread_context();
  if (is_unprotected())
    return seal_holds(context) && context.depth != 0 ? close_scopes(context.depth) : VMSRS_FINISHED;
  if (attached_window() == nullptr) return fail_status("vmsrs_user_end", VMSRS_NOT_ATTACHED);
  if (seal_holds(context)) {
    if (context.depth == 0) return fail_status("vmsrs_user_end", VMSRS_NO_USER);
    if ((context.run_scopes & bit_of(context.depth)) != 0)
      return fail(VMSRS_ERROR_STATE,
                  "vmsrs_user_end: the innermost scope is not vmsrs_user_begin's: it ends when its "
                  "body returns");
    return close_scopes(context.depth);
  }
  // Damaged: what was to happen at its end is not known, and the engine counts its scopes.
  crash_user(VMSRS_FAULT_CHECK, to_register(&context), 0);
  const CallResult end = end_user();
  if (end.status != VMSRS_OK && end.status != VMSRS_CRASHED)
    return fail_status("vmsrs_user_end", end.status);
  if (end.first == 0) {
    end_policing();
    reset_user(context);
  }
  if (end.status == VMSRS_OK) return VMSRS_FINISHED;
  return end.first == 0 ? collect() : VMSRS_SUPPRESSED;
}
