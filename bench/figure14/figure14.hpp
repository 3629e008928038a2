// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "arms.hpp"
#include "hosted_bench.hpp"
#include "instructions.hpp"
#include "machine_bench.hpp"
#include "measure.hpp"

// The workloads of the paper's figure 14, each over both arms: what a program takes with VMSRS over
// what it takes without, and how many instructions of it come on one monitored access. Natively
// that is time. In a machine whose clock counts instructions (MachineBench) it is instructions, and
// beside them stand the traps.
namespace vmsrs::bench {

// Programs that do little else than read, write or assign shared memory, with more and more work of
// their own between two accesses. `kind`: read, write or assign. False: there is no such kind.
bool intensive(const std::string& kind);

// Ordinary programs: one user a request.
void ordinary_programs();

// Where this process is inside such a machine; nullptr: native.
inline const MachineBench* machine = nullptr;

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

// Of one of the operations that `plain` and `monitored` do `count` of.
struct Comparison {
  double plain;  // nanoseconds; in the machine: instructions
  double ratio;
  // In the machine, of the monitored arm: medians, so without those of the service thread and the
  // kernel's ticks.
  double traps = 0;
  double library = 0, hypervisor = 0;  // instructions
};

template <typename Plain, typename Monitored>
Comparison compare(std::uint64_t count, Plain plain, Monitored monitored) {
  constexpr unsigned kRounds = 60;
  const auto operations = static_cast<double>(count);
  std::vector<double> before, after, traps, hypervisor;
  const double ratio = median_ratio(
      rounds(kRounds),
      [&] {
        before.push_back(time_each(count, plain));
        return before.back();
      },
      [&] {
        double each = 0;
        const auto turn = [&] { each = time_each(count, monitored); };
        if (machine != nullptr) {
          const vmsrs_exits exits = machine->during(turn);
          traps.push_back(static_cast<double>(exits.count[VMSRS_EXIT_VMMCALL]) / operations);
          hypervisor.push_back(static_cast<double>(exits.cycles[VMSRS_EXIT_VMMCALL]) / operations);
        } else {
          turn();
        }
        after.push_back(each);
        return each;
      });
  Comparison result{median(before), ratio, median(traps), 0, median(hypervisor)};
  result.library = median(after) - result.plain - result.hypervisor;
  return result;
}

// One point: `name` is what the figures' names begin with; `accesses` of one operation.
void report_comparison(const std::string& name, const Comparison& compared, double accesses,
                       double instructions_of_an_operation);

}  // namespace vmsrs::bench
