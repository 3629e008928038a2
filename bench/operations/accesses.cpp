// SPDX-License-Identifier: Apache-2.0
// Loads and stores: the same loop over plain memory and over profiled memory, little of each, so
// that both lie in the first-level cache and only the instructions differ.
#include "instructions.hpp"
#include "operations.hpp"

namespace vmsrs::bench {
namespace {

constexpr std::size_t kBytes = VMSRS_PAGE_BYTES;
constexpr std::size_t kWords = kBytes / sizeof(std::uint64_t);
constexpr unsigned kRounds = 2000;
constexpr std::size_t kGranules = kBytes / kGranuleBytes;

// How often an arm goes over its memory in one turn: long enough for the clock, short enough that
// most turns are not interrupted.
template <typename Pass>
unsigned passes(Pass pass) {
  constexpr double kTurnNs = 20'000;
  std::vector<double> times;
  for (unsigned i = 0; i < 9; ++i) times.push_back(time_each(1, pass));
  return static_cast<unsigned>(std::clamp(kTurnNs / median(times), 1.0, 1000.0));
}

template <typename Arm>
[[gnu::noinline]] void load_all(const std::uint64_t* words, unsigned times) {
  std::uint64_t sum = 0;
  for (unsigned time = 0; time < times; ++time)
    for (std::size_t i = 0; i < kWords; ++i) sum += Arm::load(words + i);
  asm volatile("" : : "r"(sum));
}

// Words apart by `stride`: 1 for every word, kGranuleWords for one word of each granule.
template <typename Arm>
[[gnu::noinline]] void store_all(std::uint64_t* words, std::size_t stride, unsigned times) {
  for (unsigned time = 0; time < times; ++time)
    for (std::size_t i = 0; i < kWords; i += stride) Arm::store(words + i, time + i);
}

// How many more instructions each of `count` operations is than the plain one.
template <typename Base, typename Other>
void report_instructions(const char* name, std::uint64_t count, Base base, Other other) {
  const auto more =
      static_cast<double>(instructions(other)) - static_cast<double>(instructions(base));
  report(name, more / static_cast<double>(count), "",
         "instructions of it, more than the plain one's");
}

void compare_loads(const char* key, const char* instructions_key, const char* text,
                   const std::uint64_t* plain, const std::uint64_t* profiled) {
  const unsigned times = passes([&] { load_all<Monitored>(profiled, 1); });
  report(
      key,
      median_difference(
          rounds(kRounds),
          [&] { return time_each(kWords * times, [&] { load_all<Plain>(plain, times); }); },
          [&] { return time_each(kWords * times, [&] { load_all<Monitored>(profiled, times); }); }),
      "ns", text);
  report_instructions(
      instructions_key, kWords, [&] { load_all<Plain>(plain, 1); },
      [&] { load_all<Monitored>(profiled, 1); });
}

// What a claim cannot do without: the exchange of tag and mask in one step, and the store.
[[gnu::noinline]] void exchange_all(vmsrs_claim* claims, std::uint64_t* words, std::uint64_t user) {
  for (std::size_t i = 0; i < kGranules; ++i) {
    fast::claim(claims[i], claims[i], {user, 0xff});
    Plain::store(words + i * kGranuleWords, user);
  }
}

}  // namespace

void load_normal(HostedBench&) {
  const std::uint64_t* const plain = HostedBench::memory(kBytes, false);
  const std::uint64_t* const profiled = HostedBench::memory(kBytes, true);
  compare_loads("load_normal_extra_ns", "load_normal_instructions",
                "monitored load, normal mode: more than a plain load", plain, profiled);
}

void load_suppression(HostedBench&) {
  const std::uint64_t* const plain = HostedBench::memory(kBytes, false);
  const std::uint64_t* const profiled = HostedBench::memory(kBytes, true);
  // One user of another thread has crashed and waits. What it wrote lies elsewhere.
  std::uint64_t* const elsewhere = HostedBench::memory(kBytes, true);
  const WaitingUsers crashed(1, true, elsewhere, 8);
  vmsrs_user_begin(2);
  compare_loads("load_suppression_extra_ns", "load_suppression_instructions",
                "monitored load, suppression mode, clean granule: more than a plain load", plain,
                profiled);
  vmsrs_user_end();
}

void store_owned(HostedBench&) {
  std::uint64_t* const plain = HostedBench::memory(kBytes, false);
  std::uint64_t* const profiled = HostedBench::memory(kBytes, true);
  vmsrs_user_begin(1);
  store_all<Monitored>(profiled, 1, 1);  // from here on they are this user's own
  const unsigned times = passes([&] { store_all<Monitored>(profiled, 1, 1); });
  const double extra = median_difference(
      rounds(kRounds),
      [&] { return time_each(kWords * times, [&] { store_all<Plain>(plain, 1, times); }); },
      [&] { return time_each(kWords * times, [&] { store_all<Monitored>(profiled, 1, times); }); });
  report("store_owned_extra_ns", extra, "ns",
         "monitored store to an owned granule: more than a plain store");
  report_instructions(
      "store_owned_instructions", kWords, [&] { store_all<Plain>(plain, 1, 1); },
      [&] { store_all<Monitored>(profiled, 1, 1); });
  vmsrs_user_end();
}

void claim(HostedBench&) {
  std::uint64_t* const plain = HostedBench::memory(kBytes, false);
  std::uint64_t* const profiled = HostedBench::memory(kBytes, true);
  std::uint64_t user = 0;
  report(
      "claim_extra_ns",
      median_difference(
          rounds(kRounds),
          [&] { return time_each(kGranules, [&] { store_all<Plain>(plain, kGranuleWords, 1); }); },
          [&] {
            vmsrs_user_begin(++user);  // everything was finished by the user before
            const double each =
                time_each(kGranules, [&] { store_all<Monitored>(profiled, kGranuleWords, 1); });
            vmsrs_user_end();
            return each;
          }),
      "ns", "first store to a granule by a user: more than a plain store");
  alignas(16) static vmsrs_claim claims[kGranules];
  report(
      "claim_least_ns",
      median_difference(
          rounds(kRounds),
          [&] { return time_each(kGranules, [&] { store_all<Plain>(plain, kGranuleWords, 1); }); },
          [&] { return time_each(kGranules, [&] { exchange_all(claims, plain, ++user); }); }),
      "ns", "of it, the locked exchange of 16 bytes alone");
  vmsrs_user_begin(++user);
  report_instructions(
      "claim_instructions", kGranules, [&] { store_all<Plain>(plain, kGranuleWords, 1); },
      [&] { store_all<Monitored>(profiled, kGranuleWords, 1); });
  vmsrs_user_end();
}

}  // namespace vmsrs::bench
