// SPDX-License-Identifier: Apache-2.0
// What a writing request costs at its end, and in all.
#include <cstdio>
#include <iterator>

#include "operations.hpp"
#include "peer.hpp"

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

// What no commit by another processor can do without: of each granule 24 bytes (which, which bytes,
// a word) that one has just written and the other reads, and a word in the other's own copy.
double least_commit_ns() {
  constexpr std::size_t kGranules = 1000;
  constexpr std::size_t kHandedOver = 3;  // words
  static std::uint64_t copies[kGranules * kGranuleWords];
  volatile std::uint64_t* const copy = copies;
  const Peer peer(kGranules * kHandedOver, [=](std::uint64_t* shared) {
    for (std::size_t i = 0; i < kGranules; ++i) {
      const volatile std::uint64_t* const over = shared + i * kHandedOver;
      copy[over[0] % kGranules * kGranuleWords] = over[1] + over[2];
    }
  });
  std::uint64_t round = 0;
  const auto write_all = [&] {
    ++round;
    for (std::size_t i = 0; i < kGranules * kHandedOver; ++i) peer.shared()[i] = i + round;
  };
  return (median_ping_ns(peer, write_all) - ping_pong_ns()) / kGranules;
}

// A call cannot do without its arguments and its results, each a line.
double least_call_ns() {
  const Peer peer(2 * kLineWords, [](std::uint64_t* shared) {
    volatile std::uint64_t* const lines = shared;
    for (std::size_t i = 0; i < kLineWords; ++i) lines[kLineWords + i] = lines[i] + 1;
  });
  volatile std::uint64_t* const lines = peer.shared();
  return median_ping_ns(
      peer,
      [&] {
        for (std::size_t i = 0; i < kLineWords; ++i) lines[i] = lines[kLineWords + i];
      },
      [&] { (void)lines[kLineWords]; });
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
  report("commit_least_ns", least_commit_ns(), "ns",
         "of it, 24 bytes read that the other processor wrote, and a word stored");
}

void hosted_trap(HostedBench&) {
  std::uint64_t* const plain = HostedBench::memory(VMSRS_PAGE_BYTES, false);
  std::uint64_t* const profiled = HostedBench::memory(VMSRS_PAGE_BYTES, true);
  report("hosted_trap_ns", request_extra<true>(plain, profiled), "ns",
         "a request with one store, begin to end: more than the store, all its traps together");
  report("read_request_ns", request_extra<false>(plain, profiled), "ns",
         "a request with one load, begin to end: more than the load");
  report("ping_pong_ns", ping_pong_ns(), "ns",
         "a bare ping-pong of one shared word between the two processors");
  report("ping_pong_lines_ns", least_call_ns(), "ns",
         "the same with one line more to read on each way, as a call has");
}

}  // namespace vmsrs::bench
