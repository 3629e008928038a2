// SPDX-License-Identifier: Apache-2.0
#include "bounds.hpp"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

constexpr long kRepeatNs = 100'000'000;
// A seal is also "broken" for the instant in which the library rewrites the context: only ticks in
// a row are believed.
constexpr std::uint32_t kBrokenSealTicks = 5;

constexpr std::uint64_t kSlotBits = 10;
static_assert(VMSRS_MAX_USERS == 1u << kSlotBits);
constexpr std::uint64_t kNoCookie = ~0ull;

std::uint64_t cookie_of(const ThreadContext& context) {
  if (!seal_holds(context) || context.slot >= VMSRS_MAX_USERS) return kNoCookie;
  return (context.user_word >> 2) << kSlotBits | context.slot;
}

enum class UserOfTimer { kCrashed, kGone, kUnknown };

UserOfTimer user_of(std::uint64_t cookie) {
  const vmsrs_window* window = attached_window();
  if (window == nullptr) return UserOfTimer::kGone;
  if (cookie == kNoCookie) return UserOfTimer::kUnknown;
  const std::uint64_t slot = cookie & (VMSRS_MAX_USERS - 1);
  const std::uint64_t word = __atomic_load_n(&window->users[slot], __ATOMIC_ACQUIRE);
  if ((word & 3u) != VMSRS_USER_CRASHED) return UserOfTimer::kGone;
  constexpr std::uint64_t kGenerationMask = ~0ull >> kSlotBits;
  return ((word >> 2) & kGenerationMask) == cookie >> kSlotBits ? UserOfTimer::kCrashed
                                                                : UserOfTimer::kGone;
}

}  // namespace

void start_time_bound(ThreadContext& context) {
  const bool sealed = seal_holds(context);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = control().time_signal;
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(cookie_of(context));
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  const int saved_errno = errno;
  // The system calls themselves: the C library's wrappers are not promised to be
  // async-signal-safe.
  int timer = 0;
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0) {
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(control().suppression_limit_ns / 1'000'000'000u);
    when.it_value.tv_nsec = static_cast<long>(control().suppression_limit_ns % 1'000'000'000u);
    when.it_interval.tv_nsec = kRepeatNs;
    syscall(SYS_timer_settime, timer, 0, &when, nullptr);
    if (sealed) {
      context.timer = timer;
      context.timer_armed = 1;
    }
  }  // else: the bound is checked at each fault and library call only
  if (sealed) {
    context.crash_ns = now_ns();
    seal(context);
  }
  errno = saved_errno;
}

void stop_time_bound(ThreadContext& context) {
  if (!seal_holds(context)) return;  // a timer that is left over finds its user gone
  if (context.timer_armed == 1) syscall(SYS_timer_delete, context.timer);
  context.timer_armed = 0;
  seal(context);
}

void on_time_signal(int, siginfo_t* info, void*) {
  if (info->si_code != SI_TIMER) return;
  const int saved_errno = errno;
  ThreadContext& context = thread_context();
  const UserOfTimer user = user_of(reinterpret_cast<std::uint64_t>(info->si_value.sival_ptr));
  const bool sealed = seal_holds(context);
  if (user == UserOfTimer::kGone ||
      (user == UserOfTimer::kUnknown && sealed && !user_is_crashed())) {
    syscall(SYS_timer_delete, info->si_timerid);
  } else if (!sealed) {
    if (++context.broken_seal_ticks >= kBrokenSealTicks) unwind();
  } else {
    context.broken_seal_ticks = 0;
    // Depth 0: the library is on its way to the user's end already.
    if (context.depth != 0) unwind();
  }
  errno = saved_errno;
}

}  // namespace vmsrs::guest
