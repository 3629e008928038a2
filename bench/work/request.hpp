// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "arms.hpp"
#include "hosted_bench.hpp"
#include "measure.hpp"

// The work that all ways of protection are compared on: requests, each a user, that read and write
// granules all over a region and compute for themselves as long as a request of the book shop
// takes.
namespace vmsrs::bench {

constexpr unsigned kReads = 8;             // granules, of each request
constexpr unsigned kWrites = 4;            // the same
constexpr double kOwnNs = 10'000;          // computing, of each request
constexpr double kFaultEverySeconds = 10;  // on the average: the MTBF of Young's formula

// The time model's sum is also tried: so much work, with so many faults in it.
constexpr double kTriedSeconds = 2;
constexpr unsigned kTriedFaults = 2;

// Something that takes time and touches no memory.
class OwnWork {
 public:
  OwnWork() {
    constexpr unsigned kTrial = 1'000'000;
    std::vector<double> times;
    for (unsigned i = 0; i < 5; ++i) times.push_back(time_each(kTrial, [this] { spin(kTrial); }));
    steps_ = static_cast<unsigned>(kOwnNs / median(times));
  }
  void operator()() const { spin(steps_); }

 private:
  void spin(unsigned steps) const {
    std::uint64_t value = steps;
    for (unsigned i = 0; i < steps; ++i) {
      value = value * 6364136223846793005u + 1442695040888963407u;
      asm volatile("" : "+r"(value));
    }
  }
  unsigned steps_ = 0;
};

// Some granules of a region and the requests on them; one thread's.
class Requests {
 public:
  Requests(std::uint64_t* words, std::size_t granules, const OwnWork& own)
      : words_(words), granules_(granules), own_(own) {}

  template <typename Arm>
  void run(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      Arm::begin(++user_);
      body<Arm>();
      Arm::end();
    }
  }

  // What a user does. Also within scopes that are opened otherwise.
  template <typename Arm>
  void body() {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < kReads; ++i) sum += Arm::load(any());
    own_();
    for (unsigned i = 0; i < kWrites; ++i) Arm::store(any(), sum + i);
  }

 private:
  std::uint64_t* any() {  // the first word of a granule; xorshift
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return words_ + random_ % granules_ * kGranuleWords;
  }

  std::uint64_t* words_;
  std::size_t granules_;
  const OwnWork& own_;
  std::uint64_t random_ = 88172645463325252u;
  std::uint64_t user_ = 0;
};

}  // namespace vmsrs::bench
