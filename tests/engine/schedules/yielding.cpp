// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <chrono>
#include <random>
#include <thread>

#include "support/scheduler.hpp"

// Real threads that often let others run between two steps of the protocol, and now and then for
// longer.
namespace {

void yield_at_times() {
  thread_local std::minstd_rand random(
      static_cast<unsigned>(std::hash<std::thread::id>()(std::this_thread::get_id())) | 1u);
  const auto chance = random() % 512;
  if (chance < 16) sched_yield();
  if (chance == 16) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

const bool yielding = [] {
  vmsrs::test::on_step_of_real_thread = yield_at_times;
  return true;
}();

}  // namespace
