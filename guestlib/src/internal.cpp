// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <vmsrs/internal.h>
#include <vmsrs/vmsrs.h>

#include "bounds.hpp"
#include "call.hpp"
#include "claims.hpp"
#include "containment.hpp"
#include "control.hpp"
#include "error.hpp"
#include "handlers.hpp"
#include "internal_state.hpp"
#include "locks.hpp"
#include "suspended.hpp"
#include "thread.hpp"

using namespace vmsrs::guest;

namespace {

constexpr std::size_t kAreasNamed = 16;  // of users: the others are like them

}  // namespace

size_t vmsrs_internal_ranges(struct vmsrs_internal_range* ranges, size_t capacity) {
  size_t count = 0;
  const auto add = [&](const char* name, const volatile void* address, size_t bytes,
                       bool writable) {
    if (address == nullptr) return;
    if (count < capacity) ranges[count] = {name, const_cast<void*>(address), bytes, writable};
    ++count;
  };
  const vmsrs_window* window = attached_window();
  add("control page", &control_page, sizeof control_page, window == nullptr);
  size_t handlers_bytes = 0;
  const void* const handlers = handlers_page(handlers_bytes);
  add("page of the program's handlers", handlers, handlers_bytes, false);
  size_t containment_bytes = 0;
  const void* const containment = containment_page(containment_bytes);
  add("page of the containment", containment, containment_bytes, false);
  add("window", window, sizeof *window, false);
  add("thread context", &thread_context(), sizeof(ThreadContext), true);
  add("what waits for the user's end", thread_context().effects.effects,
      thread_context().effects.bytes, true);
  size_t locks_bytes = 0;
  const void* const locks = held_locks(locks_bytes);
  add("the user's locks", locks, locks_bytes, true);
  size_t suspended_bytes = 0;
  const void* const suspended = suspended_users_memory(suspended_bytes);
  add("suspended users", suspended, suspended_bytes, true);
  add("error message", vmsrs_error_message(), kErrorMessageBytes, true);
  add("numbers of the users' threads", &thread_numbers(), sizeof(ThreadNumbers), true);
  add("attach gate", &attach_gate, sizeof attach_gate, true);
  add("the thread's fast words", &vmsrs_fast_thread, sizeof vmsrs_fast_thread, true);
  if (control().areas != nullptr)
    add("users' areas", control().areas, kAreasNamed * control().area_bytes, true);
  for (std::uint32_t i = 0; i < control().region_count; ++i) {
    const vmsrs::fast::Region& region = control().regions[i];
    if (region.bytes != 0 && region.claims != nullptr)
      add("claims", region.claims, (region.bytes >> region.shift) * sizeof(vmsrs_claim), true);
  }
  const PlatformMemory platform = platform_memory();
  add("call area", platform.shared, platform.shared_bytes, true);
  add("link page", platform.fixed, platform.fixed_bytes, false);
  stack_t stack{};
  if (sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0)
    add("alternate signal stack", stack.ss_sp, stack.ss_size, true);
  return count;
}
