// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "arms.hpp"
#include "hosted_bench.hpp"
#include "instructions.hpp"
#include "measure.hpp"

// The workloads of the paper's figure 14, each over both arms: what a program takes with VMSRS over
// what it takes without, and how many instructions of it come on one monitored access.
namespace vmsrs::bench {

// Programs that do little else than read, write or assign shared memory, with more and more work of
// their own between two accesses. `kind`: read, write or assign. False: there is no such kind.
bool intensive(const std::string& kind);

// Ordinary programs: one user a request.
void ordinary_programs();

constexpr unsigned kRounds = 60;

// How often an operation fits into so much time.
template <typename Operation>
std::uint64_t count_in(double nanoseconds, Operation operation) {
  std::vector<double> times;
  for (unsigned i = 0; i < 9; ++i) times.push_back(time_each(1, operation));
  return static_cast<std::uint64_t>(std::max(1.0, nanoseconds / std::max(1.0, median(times))));
}

// Instructions of one more of something, of which run(count) does `count`; of `few` and `more`,
// which single steps must get through.
template <typename Run>
double instructions_of_one(std::uint64_t few, std::uint64_t more, Run run) {
  return static_cast<double>(instructions([&] { run(more); }) - instructions([&] { run(few); })) /
         static_cast<double>(more - few);
}

}  // namespace vmsrs::bench
