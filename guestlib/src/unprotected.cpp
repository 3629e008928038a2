// SPDX-License-Identifier: Apache-2.0
#include "unprotected.hpp"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "bounds.hpp"
#include "claims.hpp"
#include "line.hpp"
#include "protect/hook_page.hpp"
#include "suppression.hpp"
#include "thread.hpp"
#include "window.hpp"

namespace vmsrs::guest {
namespace {

constinit std::atomic<bool> begun{false};

// Threads within scopes look at claims, areas and window by what they have at hand: all of it stays
// mapped. In a retired window nobody has crashed and every other user is over, so that who is in
// the middle of a store makes it.
void detach_from_nothing() {
  const vmsrs_window* const window = attached_window();
  if (window == nullptr || !unlock_control()) return;
  ControlBlock& block = control_page.block;
  __atomic_store_n(&block.window, nullptr, __ATOMIC_RELEASE);
  drop_regions();
  note_region_bounds(nullptr, 0);
  retire_window(window);
  __atomic_store_n(&block.unprotected, true, __ATOMIC_RELEASE);
  (void)lock_control();
  Line line;
  line.text(
          "vmsrs: the hypervisor has contradicted itself: nothing of this process is protected any "
          "more; ")
      .text("it goes on, and the next fault of a user ends it\n");
  line.write_to(STDERR_FILENO);
}

}  // namespace

void go_on_unprotected() {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // a handler here would wait for this thread
  if (!begun.exchange(true)) detach_from_nothing();
  while (attached_window() != nullptr) sched_yield();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool may_store_unprotected() {
  const ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.depth == 0 || context.crash_ns == 0) return true;
  if (context.landing_depth != 0 && context.landing_depth != kLanded) unwind();
  return false;
}

}  // namespace vmsrs::guest
