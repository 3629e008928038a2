// SPDX-License-Identifier: Apache-2.0
#include "figure14.hpp"

namespace vmsrs::bench {
namespace {

constexpr std::size_t kBytes = VMSRS_PAGE_BYTES;
constexpr std::size_t kWords = kBytes / sizeof(std::uint64_t);
constexpr double kTurnNs = 200'000;
// Bytes hashed between two operations; each some five instructions.
constexpr unsigned kWork[] = {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096};

// What a program does beside: an FNV hash of memory of its own.
struct OwnWork {
  unsigned char bytes[256] = {};
  std::uint64_t hash = 14695981039346656037u;
  void operator()(unsigned count) {
    std::uint64_t value = hash;
    for (unsigned i = 0; i < count; ++i) {
      value = (value ^ bytes[i % sizeof bytes]) * 1099511628211u;
      asm volatile("" : "+r"(value));
    }
    hash = value;
  }
};

struct Read {
  static constexpr unsigned kAccesses = 1;
  template <typename Arm>
  static void perform(std::uint64_t* words, std::uint64_t i, std::uint64_t& value) {
    value += Arm::load(words + i % kWords);
  }
};
struct Write {
  static constexpr unsigned kAccesses = 1;
  template <typename Arm>
  static void perform(std::uint64_t* words, std::uint64_t i, std::uint64_t& value) {
    Arm::store(words + i % kWords, value + i);
  }
};
struct Assign {
  static constexpr unsigned kAccesses = 2;
  template <typename Arm>
  static void perform(std::uint64_t* words, std::uint64_t i, std::uint64_t&) {
    Arm::assign(words + i % kWords, words + (i + kWords / 2) % kWords);
  }
};

template <typename Kind, typename Arm>
[[gnu::noinline]] void run(std::uint64_t* words, OwnWork& own, unsigned work, std::uint64_t count) {
  std::uint64_t value = own.hash;
  for (std::uint64_t i = 0; i < count; ++i) {
    Kind::template perform<Arm>(words, i, value);
    own(work);
  }
  asm volatile("" : : "r"(value));
}

template <typename Kind>
void measure(const std::string& name) {
  std::uint64_t* const plain = HostedBench::memory(kBytes, false);
  std::uint64_t* const profiled = HostedBench::memory(kBytes, true);
  OwnWork own;
  std::uint64_t user = 0;
  for (const unsigned work : kWork) {
    constexpr unsigned kMostInQuick = 16;
    if (quick() && work > kMostInQuick) break;
    constexpr std::uint64_t kBatch = 16;
    const std::uint64_t count =
        kBatch * count_in(kTurnNs, [&] { run<Kind, Plain>(plain, own, work, kBatch); });
    // One user, who owns what it stores to after the first time round: what a user's end costs is
    // measured elsewhere, and depends on how much it does before.
    Monitored::begin(++user);
    run<Kind, Monitored>(profiled, own, 0, kWords);
    const Comparison compared = compare(
        count, [&] { run<Kind, Plain>(plain, own, work, count); },
        [&] { run<Kind, Monitored>(profiled, own, work, count); });
    Monitored::end();
    const bool is_short = work < 100;
    const double each =
        machine != nullptr
            ? compared.plain
            : instructions_of_one(is_short ? 16 : 1, is_short ? 48 : 3,
                                  [&](std::uint64_t n) { run<Kind, Plain>(plain, own, work, n); });
    report_comparison(name + "_" + std::to_string(work), compared, Kind::kAccesses, each);
  }
}

template <typename Kind>
void measure_modes() {
  measure<Kind>("normal");
  // One user of another thread has crashed and waits. What it wrote lies elsewhere.
  std::uint64_t* const elsewhere = HostedBench::memory(kBytes, true);
  const WaitingUsers crashed(1, true, elsewhere, 8);
  measure<Kind>("suppression");
}

}  // namespace

bool intensive(const std::string& kind) {
  if (kind == "read")
    measure_modes<Read>();
  else if (kind == "write")
    measure_modes<Write>();
  else if (kind == "assign")
    measure_modes<Assign>();
  else
    return false;
  return true;
}

}  // namespace vmsrs::bench
