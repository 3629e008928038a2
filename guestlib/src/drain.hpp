// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vmsrs/fast.hpp>

namespace vmsrs::guest {

using hooks::hole, hooks::step, hooks::Step;

// The guest's part of DRAIN: returns once every window of the slot (or of all, VMSRS_EVERY_USER)
// has been seen closed since. `area_of(slot)` is where a window lies, barrier() makes all
// processors agree on what was stored, wait(slot, user_word, attempt) lets others run: a thread
// that is descheduled in its window is waited for, until wait() gives it up by `false`. False: one
// was. A hook window may stay open long after the store: has_stored(slot, attempt) says whether
// that was made.
template <typename AreaOf, typename Barrier, typename Wait, typename HasStored>
bool see_windows_closed(const vmsrs_window& window, std::uint64_t wanted, AreaOf area_of,
                        Barrier barrier, Wait wait, HasStored has_stored) {
  step(Step::DRAIN_barrier);
  if (!hole(17) && !hole(18)) barrier();
  const bool all = wanted == VMSRS_EVERY_USER;
  const std::uint64_t end = all ? VMSRS_MAX_USERS : wanted + 1;
  bool drained = true;
  for (std::uint64_t slot = all ? 0 : wanted; slot < end && slot < VMSRS_MAX_USERS; ++slot) {
    const std::uint64_t word = __atomic_load_n(&window.users[slot], __ATOMIC_ACQUIRE);
    for (unsigned attempt = 0;; ++attempt) {
      // FREE also: its process has died with the window open. Another generation: its user has
      // ended since, so has its store.
      const std::uint64_t now = __atomic_load_n(&window.users[slot], __ATOMIC_ACQUIRE);
      if ((now & 3) == VMSRS_USER_FREE || now >> 2 != word >> 2) break;
      const vmsrs_user_area& area = area_of(slot);
      if (!fast::is_open(area.window) &&
          (!fast::is_open(area.hook_window) || has_stored(slot, attempt)))
        break;
      if (wait(slot, word, attempt)) continue;
      drained = false;
      break;
    }
  }
  return drained;
}

}  // namespace vmsrs::guest
