// SPDX-License-Identifier: Apache-2.0
// What checkpoints cost on the common work: on the average, at a checkpoint, and at a fault.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "checkpoints.hpp"
#include "request.hpp"

namespace vmsrs::bench {
namespace {

constexpr unsigned kBatch = 64;  // requests between looks at the clock
constexpr double kFirstInterval = 0.1;
constexpr double kLeastInterval = 0.01;
constexpr double kLongestMeasured = 0.35;  // seconds: longer intervals are not waited for
constexpr double kLongestRun = 4;          // the same, however little was done
constexpr double kPatience = 5;            // seconds: fewer rounds where one takes long
constexpr unsigned kSearches = 3;
constexpr unsigned kRounds = 5;
constexpr unsigned kFaults = 3;

double seconds_since(std::uint64_t begin) { return static_cast<double>(now_ns() - begin) / 1e9; }

double children_seconds() {
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

struct Ran {
  double seconds, pause;
  double own;  // seconds of the server's own thread
  double cpu;  // seconds of all threads and children
  double requests;
};

class Measurement {
 public:
  Measurement(Checkpoints& checkpoints, std::uint64_t* words, std::size_t bytes)
      : checkpoints_(checkpoints), words_(words), requests_(words, bytes / kGranuleBytes, own_) {}

  // What a checkpoint costs depends on the interval (more pages are written in a longer one), and
  // the best interval on what it costs: a few rounds to find both, then the rounds that count.
  void costs() {
    const unsigned count = quick() ? 2 : kSearches + kRounds;
    for (unsigned i = 0; i < count && !(i > kSearches && impatient()); ++i) {
      if (i + 1 == kSearches) forget();
      round();
      if (i < kSearches) interval_ = young();
    }
    interval_ = young();
  }

  // Faults half-way between two checkpoints, where they are on the average.
  void faults() {
    for (unsigned i = 0; i < kFaults && !(i > 0 && (quick() || impatient())); ++i) {
      checkpoints_.suspend();
      run(0, true);
      words_[0] = i + 1;
      run(0, true);
      run(std::min(interval_, quick() ? 0.05 : kLongestMeasured) / 2, false);
      words_[0] = 0;
      const std::uint64_t begin = now_ns();
      checkpoints_.roll_back();
      back_.push_back(seconds_since(begin));
      if (words_[0] != i + 1) give_up("a checkpoint was not restored");
    }
  }

  // Work with faults at random moments, each of which goes back to the last checkpoint; over the
  // time of the same work without either.
  void report_tried() {
    const double work = quick() ? kTriedSeconds / 20 : kTriedSeconds;
    const double each = median(plain_ns_) / 1e9;
    const double interval = std::sqrt(2 * median(costs_) * work / kTriedFaults);
    std::exponential_distribution<double> until_fault(kTriedFaults / work);
    std::minstd_rand random(1);
    checkpoints_.suspend();
    run(0, true);
    const clockid_t clock = checkpoints_.waits() ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    const std::uint64_t begin = now_ns(clock);
    double now = 0, done = 0, saved = 0;
    double next_fault = until_fault(random);
    for (unsigned faults = 0; done < work / each;) {
      requests_.run<Plain>(kBatch);
      done += kBatch;
      now = static_cast<double>(now_ns(clock) - begin) / 1e9;
      if (faults < kTriedFaults && now >= next_fault) {
        while (!checkpoints_.complete()) {
        }
        checkpoints_.roll_back();
        done = saved;
        ++faults;
        next_fault = now + until_fault(random);
      } else if ((done - saved) * each >= interval && checkpoints_.complete()) {
        checkpoints_.take();
        saved = done;
      }
    }
    report("tried_ratio", now / work, "",
           "2 s of work with 2 faults, over the same without either");
  }

  void report_all() {
    const double cost = median(costs_);
    report("plain_ns", median(plain_ns_), "ns", "a request without protection");
    report("cost_ms", cost * 1e3, "ms", "what a checkpoint costs the server in all");
    report("interval_ms", interval_ * 1e3, "ms", "Young's interval");
    report("extra_ns", median(plain_ns_) * cost / interval_, "ns",
           "of each request, on the average");
    report("overhead", cost / interval_, "", "more time for the same work");
    report("cpu_extra_us", median(cpu_) * 1e6, "us",
           "more processor time of a request, both processors");
    report("checkpoint_pause_ms", median(pauses_) * 1e3, "ms",
           "the server's pause at a checkpoint");
    report("lost_ms", interval_ / 2 * 1e3, "ms", "all users' work lost at a fault");
    report("pause_ms", median(back_) * 1e3, "ms", "everybody's pause at a fault");
  }

 private:
  double young() const {
    return std::max(kLeastInterval, std::sqrt(2 * median(costs_) * kFaultEverySeconds));
  }
  bool impatient() const { return seconds_since(begin_) > kPatience; }
  void forget() {
    for (auto* values : {&plain_ns_, &costs_, &pauses_, &cpu_}) values->clear();
  }

  void round() {
    const double work = std::min(interval_, quick() ? 0.05 : kLongestMeasured);
    checkpoints_.suspend();
    const Ran plain = run(work / 2, false);
    run(work, true);  // what counts is the step from this one to the next
    const Ran ran = run(work, true);
    const double each = took(plain) / plain.requests;
    plain_ns_.push_back(each * 1e9);
    costs_.push_back(std::max(1e-5, took(ran) - each * ran.requests));
    pauses_.push_back(ran.pause);
    // A checkpoint's share falls on the requests of an interval, and that may be longer.
    cpu_.push_back((ran.cpu - plain.cpu / plain.requests * ran.requests) /
                   (std::max(interval_, ran.seconds) / each));
  }

  // In time of the server's thread where that is all there is: other programs then disturb less.
  double took(const Ran& it) const { return checkpoints_.waits() ? it.seconds : it.own; }

  // Requests that take so long without checkpoints, and on until one that was taken at the
  // beginning is complete. The work counts, not the time: a server that is held up all the time
  // gets nowhere.
  Ran run(double work, bool checkpoint) {
    const double count = work * 1e9 / (plain_ns_.empty() ? kOwnNs : median(plain_ns_));
    Ran ran{};
    const double cpu = cpu_seconds(getpid()) + children_seconds();
    const std::uint64_t own = now_ns(CLOCK_THREAD_CPUTIME_ID);
    const std::uint64_t begin = now_ns();
    if (checkpoint) checkpoints_.take();
    ran.pause = seconds_since(begin);
    do {
      requests_.run<Plain>(kBatch);
      ran.requests += kBatch;
      ran.seconds = seconds_since(begin);
    } while ((ran.requests < count && ran.seconds < kLongestRun) ||
             (checkpoint && !checkpoints_.complete()));
    ran.own = static_cast<double>(now_ns(CLOCK_THREAD_CPUTIME_ID) - own) / 1e9;
    ran.cpu = cpu_seconds(getpid()) + children_seconds() - cpu;
    return ran;
  }

  Checkpoints& checkpoints_;
  std::uint64_t* words_;
  OwnWork own_;
  Requests requests_;
  std::uint64_t begin_ = now_ns();
  double interval_ = kFirstInterval;
  std::vector<double> plain_ns_, costs_, pauses_, cpu_, back_;
};

}  // namespace

bool measure_checkpoints(std::string_view way, std::size_t bytes, bool tries) {
  std::uint64_t* const words = HostedBench::memory(bytes, false);
  const std::unique_ptr<Checkpoints> checkpoints =
      make_checkpoints(way, reinterpret_cast<std::byte*>(words), bytes);
  if (checkpoints == nullptr) return false;
  Measurement measurement(*checkpoints, words, bytes);
  measurement.costs();
  measurement.faults();
  measurement.report_all();
  if (tries) measurement.report_tried();
  return true;
}

}  // namespace vmsrs::bench
