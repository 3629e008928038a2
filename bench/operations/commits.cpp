// SPDX-License-Identifier: Apache-2.0
// What a writing request costs at its end, and in all.
#include <cstdio>
#include <iterator>

#include "operations.hpp"

namespace vmsrs::bench {
namespace {

constexpr unsigned kRequests = 200;  // in a batch

template <typename Arm, bool kWrites>
[[gnu::noinline]] void requests(std::uint64_t* words) {
  for (unsigned i = 0; i < kRequests; ++i) {
    Arm::begin(i + 1);
    if constexpr (kWrites)
      Arm::store(words, i);
    else
      Arm::load(words);
    Arm::end();
  }
}

template <bool kWrites>
double request_extra(std::uint64_t* plain, std::uint64_t* profiled) {
  return median_difference(
      rounds(400), [&] { return time_each(kRequests, [&] { requests<Plain, kWrites>(plain); }); },
      [&] { return time_each(kRequests, [&] { requests<Monitored, kWrites>(profiled); }); });
}

}  // namespace

// USER_END with a write set of a given size. The key is the slope: what is left when the round trip
// and whatever else does not depend on the size has been taken off.
void commit_granule(HostedBench&) {
  constexpr unsigned kSizes[] = {1, 10, 100, 1000, 8192, 10'000};
  constexpr std::size_t kBytes = 1024 * 1024;
  std::uint64_t* const words = HostedBench::memory(kBytes, true);
  double first = 0;
  double last = 0;
  for (const unsigned size : kSizes) {
    std::vector<double> times;
    for (unsigned round = 0; round < rounds(size < 1000 ? 200 : 40); ++round) {
      vmsrs_user_begin(round + 1);
      for (unsigned i = 0; i < size; ++i) vmsrs::store(words + i * kGranuleWords, round + i);
      times.push_back(time_each(1, [] { vmsrs_user_end(); }));
    }
    last = median(times);
    if (size == kSizes[0]) first = last;
    char name[64];
    std::snprintf(name, sizeof name, "commit_%u_ns", size);
    report(name, last, "ns", "the end of a user with so many granules, whole");
  }
  report("commit_granule_ns", (last - first) / (kSizes[std::size(kSizes) - 1] - kSizes[0]), "ns",
         "each further granule at the end of a user, 1 to 10,000");
}

void hosted_trap(HostedBench&) {
  std::uint64_t* const plain = HostedBench::memory(VMSRS_PAGE_BYTES, false);
  std::uint64_t* const profiled = HostedBench::memory(VMSRS_PAGE_BYTES, true);
  report("hosted_trap_ns", request_extra<true>(plain, profiled), "ns",
         "a request with one store, begin to end: more than the store, all its traps together");
  report("read_request_ns", request_extra<false>(plain, profiled), "ns",
         "a request with one load, begin to end: more than the load");
}

}  // namespace vmsrs::bench
