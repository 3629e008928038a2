// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <vector>

// Clocks, pinning, medians, and the one line per figure that bench/report reads.
namespace vmsrs::bench {

// Server and load share the first processor in every arm; the engine, or whatever takes its place
// in the other arm, has the second.
constexpr unsigned kServerCpu = 0;
constexpr unsigned kEngineCpu = 1;

inline std::uint64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// Of a process and all its threads so far.
double cpu_seconds(pid_t process);
// How long its threads would have run, had other programs not held their processor. 0: unknown.
double waited_seconds(pid_t process);

// The calling thread, and whatever it starts from now on. Says so if that is not possible.
void pin_to(unsigned cpu);

// For quick looks: fewer rounds, the same code. VMSRS_BENCH_QUICK=1.
bool quick();
inline unsigned rounds(unsigned wanted) { return quick() ? std::max(3u, wanted / 20) : wanted; }

double median(std::vector<double> values);

// A/B: both arms in each round, the order changing from round to round, so that whatever else the
// machine does meets both alike. The result is the median of the rounds' differences. Ends early if
// that takes long.
template <typename Base, typename Other>
double median_difference(unsigned count, Base base, Other other) {
  constexpr unsigned kLeast = 10;
  constexpr std::uint64_t kPatienceNs = 2'000'000'000;
  std::vector<double> differences;
  const std::uint64_t begin = now_ns();
  for (unsigned i = 0; i < count && (i < kLeast || now_ns() - begin < kPatienceNs); ++i) {
    double low, high;
    if (i % 2 == 0) {
      low = base();
      high = other();
    } else {
      high = other();
      low = base();
    }
    differences.push_back(high - low);
  }
  return median(std::move(differences));
}

// The same: the median of the rounds' ratios, other over base.
template <typename Base, typename Other>
double median_ratio(unsigned count, Base base, Other other) {
  std::vector<double> ratios;
  for (unsigned i = 0; i < count; ++i) {
    double low, high;
    if (i % 2 == 0) {
      low = base();
      high = other();
    } else {
      high = other();
      low = base();
    }
    ratios.push_back(high / low);
  }
  return median(std::move(ratios));
}

// Nanoseconds that one of `count` operations takes.
template <typename Operations>
double time_each(std::uint64_t count, Operations operations) {
  const std::uint64_t begin = now_ns();
  operations();
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

// One figure: a key of the issue, or (with a name that is none) something to stand beside them.
void report(const char* name, double value, const char* unit, const char* text);

}  // namespace vmsrs::bench
