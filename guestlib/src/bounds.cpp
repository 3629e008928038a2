// SPDX-License-Identifier: Apache-2.0
#include "bounds.hpp"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control.hpp"
#include "gate.hpp"
#include "guest_call.hpp"
#include "protect/store_by_value.hpp"
#include "protection_key.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

constexpr long kRepeatNs = 100'000'000;
// A seal is also "broken" for the instant in which the library rewrites the context: only ticks in
// a row are believed.
constexpr std::uint32_t kBrokenSealTicks = 5;
constexpr std::uint32_t kNotUnwoundTicks = 20;

constexpr std::uint64_t kNoCookie = ~0ull;
// Of a thread's own timer, which serves all its users: of whichever crashed one it has.
constexpr std::uint64_t kOwnCookie = ~1ull;

ThreadNumbers numbers_of_threads;

std::uint64_t cookie_of(std::uint64_t user_word, std::uint64_t slot) {
  return (user_word >> 2) << kSlotBits | slot;
}
std::uint64_t cookie_of(const ThreadContext& context) {
  if (!seal_holds(context) || context.slot >= VMSRS_MAX_USERS) return kNoCookie;
  return cookie_of(context.user_word, context.slot);
}

// The system calls themselves: the C library's wrappers are not promised to be
// async-signal-safe. False: the bound is checked at each fault and library call only.
bool make_timer(std::int32_t thread, std::uint64_t cookie, std::int32_t& timer) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = control().time_signal;
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(cookie);
  event._sigev_un._tid = thread;
  return vmsrs_gate_call(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0;
}

bool set_timer(std::int32_t timer, std::uint64_t ns) {
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000u);
  when.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000u);
  if (ns != 0) when.it_interval.tv_nsec = kRepeatNs;
  return vmsrs_gate_call(SYS_timer_settime, timer, 0, &when, nullptr) == 0;
}

bool arm_timer(std::int32_t thread, std::uint64_t cookie, std::int32_t& timer) {
  const int saved_errno = errno;
  const bool made = make_timer(thread, cookie, timer);
  if (made) set_timer(timer, control().suppression_limit_ns);
  errno = saved_errno;
  return made;
}

enum class UserOfTimer { kCrashed, kGone, kUnknown };

UserOfTimer user_of(std::uint64_t cookie) {
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return UserOfTimer::kGone;
  if (cookie == kNoCookie) return UserOfTimer::kUnknown;
  const std::uint64_t slot = cookie & (VMSRS_MAX_USERS - 1);
  const std::uint64_t word = __atomic_load_n(&window->users[slot], __ATOMIC_ACQUIRE);
  if ((word & 3u) != VMSRS_USER_CRASHED && (word & 3u) != VMSRS_USER_STUCK)
    return UserOfTimer::kGone;
  constexpr std::uint64_t kGenerationMask = ~0ull >> kSlotBits;
  return ((word >> 2) & kGenerationMask) == cookie >> kSlotBits ? UserOfTimer::kCrashed
                                                                : UserOfTimer::kGone;
}

}  // namespace

void start_time_bound(ThreadContext& context) {
  std::int32_t timer = 0;
  if (!seal_holds(context)) return void(arm_timer(this_thread(), kNoCookie, timer));
  const int saved_errno = errno;
  bool armed = context.timer_made == 1 && set_timer(context.timer, control().suppression_limit_ns);
  errno = saved_errno;
  if (!armed && arm_timer(this_thread(), kOwnCookie, timer)) {
    armed = true;
    context.timer = timer;
    context.timer_made = 1;
  }
  context.timer_armed = armed;
  context.crash_ns = now_ns();
  seal(context);
}

void note_thread_of(std::uint64_t slot, std::int32_t thread) {
  if (slot < VMSRS_MAX_USERS) __atomic_store_n(&numbers_of_threads[slot], thread, __ATOMIC_RELAXED);
}

void start_time_bound_of(std::uint64_t slot, std::uint64_t crash_epoch) {
  const vmsrs_window* const window = attached_window();
  if (window == nullptr || slot >= VMSRS_MAX_USERS) return;
  const std::uint64_t word = __atomic_load_n(&window->users[slot], __ATOMIC_ACQUIRE);
  if (__atomic_load_n(&window->crash_epochs[slot], __ATOMIC_ACQUIRE) != crash_epoch) return;
  std::int32_t timer = 0;
  arm_timer(__atomic_load_n(&numbers_of_threads[slot], __ATOMIC_RELAXED), cookie_of(word, slot),
            timer);
}

ThreadNumbers& thread_numbers() { return numbers_of_threads; }

void stop_time_bound(ThreadContext& context) {
  if (context.timer_armed != 1 || !seal_holds(context)) return;
  set_timer(context.timer, 0);
  context.timer_armed = 0;
  seal(context);
}

void give_up_timer(ThreadContext& context) {
  if (context.timer_made != 1 || !seal_holds(context)) return;
  vmsrs_gate_call(SYS_timer_delete, context.timer);
  context.timer_made = context.timer_armed = 0;
  seal(context);
}

void on_time_signal(int, siginfo_t* info, void* ucontext) {
  const int saved_errno = errno;
  forbid_stores(strict_key());
  if (info->si_code == SI_TKILL && info->si_pid == control().process &&
      attached_window() != nullptr)
    on_kick(*static_cast<ucontext_t*>(ucontext));
  errno = saved_errno;
  if (info->si_code != SI_TIMER) return;
  ThreadContext& context = thread_context();
  const bool sealed = seal_holds(context);
  const auto asked = reinterpret_cast<std::uint64_t>(info->si_value.sival_ptr);
  const bool own = asked == kOwnCookie;
  const std::uint64_t cookie = own ? cookie_of(context) : asked;
  const UserOfTimer user = user_of(cookie);
  const bool of_another = user == UserOfTimer::kCrashed && sealed && cookie != cookie_of(context);
  if (user == UserOfTimer::kGone || of_another ||
      (user == UserOfTimer::kUnknown && sealed && !user_is_crashed())) {
    // Its user has ended; the process may have detached. A thread's own timer stays, for the next.
    if (own)
      set_timer(info->si_timerid, 0);
    else
      vmsrs_gate_call(SYS_timer_delete, info->si_timerid);
  } else if (!sealed) {
    if (++context.broken_seal_ticks >= kBrokenSealTicks) unwind();
  } else {
    context.broken_seal_ticks = 0;
    // A signal that was blocked may be about the thread's user before this one. And where it has
    // landed the library is on its way to the user's end already.
    const bool early = own && now_ns() - context.crash_ns < control().suppression_limit_ns;
    const bool later = context.not_unwound != 0 && ++context.not_unwound_ticks < kNotUnwoundTicks;
    if (!early && !later && context.depth != 0 && context.landing_depth != kLanded) unwind();
  }
  errno = saved_errno;
}

}  // namespace vmsrs::guest
