// SPDX-License-Identifier: Apache-2.0
#include "ours.hpp"

#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <memory>
#include <optional>
#include <thread>

#include "request.hpp"

namespace vmsrs::bench {
namespace {

constexpr unsigned kBatch = 800;  // requests in one turn of an arm, all threads together
constexpr unsigned kRounds = 40;
constexpr unsigned kFaults = 100;
constexpr std::uint64_t kNowhere = 0x0000'6b6f'6f62'0000;

// Threads that wait for their turn, each with its own part of both regions.
class Crew {
 public:
  Crew(unsigned threads, std::uint64_t* plain, std::uint64_t* profiled, std::size_t granules,
       const OwnWork& own)
      : each_(kBatch / threads), turn_(threads + 1) {
    const std::size_t part = granules / threads;
    for (unsigned i = 0; i < threads; ++i)
      threads_.emplace_back([=, this, &own] {
        Requests without(plain + i * part * kGranuleWords, part, own);
        Requests with(profiled + i * part * kGranuleWords, part, own);
        for (;;) {
          turn_.arrive_and_wait();
          if (arm_ == Arm::none) return;
          if (arm_ == Arm::plain)
            without.run<Plain>(each_);
          else
            with.run<Monitored>(each_);
          turn_.arrive_and_wait();
        }
      });
  }
  ~Crew() {
    arm_ = Arm::none;
    turn_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  double plain() { return take_turn(Arm::plain); }
  double monitored() { return take_turn(Arm::monitored); }

 private:
  enum class Arm { none, plain, monitored };
  double take_turn(Arm arm) {  // nanoseconds a request
    arm_ = arm;
    return time_each(each_ * threads_.size(), [this] {
      turn_.arrive_and_wait();
      turn_.arrive_and_wait();
    });
  }
  unsigned each_;
  std::barrier<> turn_;
  Arm arm_ = Arm::none;
  std::vector<std::thread> threads_;
};

void one_request(Requests& requests, bool faults) {
  vmsrs::run_user(
      1,
      [&] {
        requests.body<Monitored>();
        if (faults) *reinterpret_cast<volatile std::uint64_t*>(kNowhere) = 0;
      },
      [] {});
}

// A request that faults at its end, beside one that does not: whatever else a fault costs.
double fault_cost(Requests& requests) {
  const auto request = [&](bool faults) {
    return time_each(1, [&] { one_request(requests, faults); });
  };
  return median_difference(
      rounds(kFaults), [&] { return request(false); }, [&] { return request(true); });
}

// Work with faults in it, each request that failed done again; over the time of the same work
// without protection.
double tried(Requests& plain, Requests& monitored, double plain_ns) {
  const auto count = static_cast<unsigned>(kTriedSeconds / (quick() ? 20 : 1) * 1e9 / plain_ns);
  const double without = time_each(count, [&] { plain.run<Plain>(count); });
  const double with = time_each(count, [&] {
    for (unsigned i = 0; i < count; ++i) {
      if (i % (count / kTriedFaults) == count / kTriedFaults / 2) one_request(monitored, true);
      one_request(monitored, false);
    }
  });
  return with / without;
}

}  // namespace

void measure_ours(const Point& point) {
  const std::string storage =
      std::to_string(64 + point.region_bytes / (1024 * 1024) * 3 / 2) + "MiB";
  HostedBench bench(storage);
  bench.attach();
  const OwnWork own;
  const std::size_t granules = point.region_bytes / kGranuleBytes;
  std::uint64_t* const plain = HostedBench::memory(point.region_bytes, false);
  std::uint64_t* const profiled = HostedBench::memory(point.region_bytes, true);

  // Those who wait have written elsewhere: what one user costs another, not what conflicts cost.
  constexpr std::size_t kGranulesEach = kWrites;
  const unsigned waiting = std::min(point.users, kMostWaiting) - 1;
  const unsigned waiting_bytes = std::max(waiting, point.crashed) * kGranulesEach * kGranuleBytes;
  std::uint64_t* const elsewhere =
      HostedBench::memory((waiting_bytes / VMSRS_PAGE_BYTES + 1) * VMSRS_PAGE_BYTES, true);
  const WaitingUsers active(waiting, false, elsewhere, kGranulesEach);
  const WaitingUsers crashed(point.crashed, true, elsewhere, kGranulesEach);

  const auto cpu = [&bench] { return cpu_seconds(getpid()) + cpu_seconds(bench.process().id()); };
  std::vector<double> plain_ns, plain_cpu, cpu_used;
  std::optional<Crew> crew(std::in_place, point.threads, plain, profiled, granules, own);
  for (unsigned come = waiting + 1; come < point.users; come += kBatch) crew->monitored();
  const double extra = median_difference(
      rounds(kRounds),
      [&] {
        const double before = cpu();
        plain_ns.push_back(crew->plain());
        plain_cpu.push_back(cpu() - before);
        return plain_ns.back();
      },
      [&] {
        const double before = cpu();
        const double each = crew->monitored();
        cpu_used.push_back(cpu() - before);
        return each;
      });
  crew.reset();
  report("plain_ns", median(plain_ns), "ns", "a request without protection");
  report("extra_ns", extra, "ns", "of each request");
  report("overhead", extra / median(plain_ns), "", "more time for the same work");
  report("cpu_extra_us", (median(cpu_used) - median(plain_cpu)) / kBatch * 1e6, "us",
         "more processor time of a request, both processors");
  if (point.crashed == 0) {
    Requests without(plain, granules, own);
    Requests with(profiled, granules, own);
    const double pause = fault_cost(with);
    report("lost_ms", (median(plain_ns) + extra) / 1e6, "ms",
           "work lost at a fault: the crashed user's request, nobody else's");
    report("pause_ms", pause / 1e6, "ms", "the crashed user's fault, suppression and collection");
    if (point.tries)
      report("tried_ratio", tried(without, with, median(plain_ns)), "",
             "2 s of work with 2 faults, over the same without either");
  }
}

}  // namespace vmsrs::bench
