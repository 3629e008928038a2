// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

namespace vmsrs::guest {

// Calls `attempt` until it returns true, for some two seconds with pauses: a process of this server
// that has died is there until vmsrsd has seen it, once a second, and given back what it held.
template <typename Attempt>
void try_for_a_while(Attempt attempt) {
  constexpr unsigned kAttempts = 200;
  constexpr timespec kPause = {0, 10'000'000};
  for (unsigned i = 1; !attempt() && i < kAttempts; ++i)
    clock_nanosleep(CLOCK_MONOTONIC, 0, &kPause, nullptr);
}

}  // namespace vmsrs::guest
