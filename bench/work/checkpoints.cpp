// SPDX-License-Identifier: Apache-2.0
#include "checkpoints.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "dirty_pages.hpp"
#include "request.hpp"

namespace vmsrs::bench {
namespace {

std::byte* shared_memory(std::size_t bytes) {
  void* const place =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) give_up("no memory for checkpoints");
  std::memset(place, 0, bytes);
  return static_cast<std::byte*>(place);
}

// Two images in turn, as a fault may come while one is being written.
class ForkCheckpoints : public Checkpoints {
 public:
  ForkCheckpoints(std::byte* region, std::size_t bytes)
      : region_(region), bytes_(bytes), good_(shared_memory(bytes)), next_(shared_memory(bytes)) {}
  ~ForkCheckpoints() override {
    suspend();
    munmap(good_, bytes_);
    munmap(next_, bytes_);
  }
  void take() override {
    suspend();
    child_ = fork();
    if (child_ < 0) give_up("cannot fork");
    if (child_ > 0) return;
    pin_to(kEngineCpu);
    std::memcpy(next_, region_, bytes_);
    _exit(0);
  }
  bool complete() override {
    if (child_ > 0 && waitpid(child_, nullptr, WNOHANG) == child_) saved();
    return child_ <= 0;
  }
  void roll_back() override { std::memcpy(region_, good_, bytes_); }
  void suspend() override {
    if (child_ > 0 && waitpid(child_, nullptr, 0) == child_) saved();
  }

 private:
  void saved() {
    child_ = 0;
    std::swap(good_, next_);
  }
  std::byte* region_;
  std::size_t bytes_;
  std::byte* good_;
  std::byte* next_;
  pid_t child_ = 0;
};

// One image that is brought up to date, at once: faults do not come within take().
class IncrementalCheckpoints : public Checkpoints {
 public:
  IncrementalCheckpoints(std::unique_ptr<DirtyPages> dirty, std::byte* region, std::size_t bytes)
      : dirty_(std::move(dirty)), region_(region), bytes_(bytes), image_(shared_memory(bytes)) {}
  ~IncrementalCheckpoints() override { munmap(image_, bytes_); }
  void take() override {
    const std::vector<PageRange> written = dirty_->take();
    if (std::exchange(suspended_, false)) {  // nobody knows what was written
      std::memcpy(image_, region_, bytes_);
      return;
    }
    for (const PageRange& range : written)
      std::memcpy(image_ + range.offset, region_ + range.offset, range.bytes);
  }
  bool complete() override { return true; }
  void roll_back() override {
    for (const PageRange& range : dirty_->list())
      std::memcpy(region_ + range.offset, image_ + range.offset, range.bytes);
  }
  void suspend() override {
    dirty_->suspend();
    suspended_ = true;
  }

 private:
  std::unique_ptr<DirtyPages> dirty_;
  std::byte* region_;
  std::size_t bytes_;
  std::byte* image_;
  bool suspended_ = true;
};

constexpr unsigned kBatch = 64;      // requests between looks at the clock
constexpr double kFirstInterval = 0.1;
constexpr double kLeastInterval = 0.01;
constexpr double kLongestMeasured = 0.35;  // seconds: longer intervals are not waited for
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
  double seconds, pause, cpu;
  std::uint64_t requests;
};

// Requests for so long, and until a checkpoint taken at the beginning is complete.
Ran run_for(Requests& requests, double seconds, Checkpoints* checkpoints) {
  Ran ran{};
  const double cpu = cpu_seconds(getpid()) + children_seconds();
  const std::uint64_t begin = now_ns();
  if (checkpoints != nullptr) {
    checkpoints->take();
    ran.pause = seconds_since(begin);
  }
  do {
    requests.run<Plain>(kBatch);
    ran.requests += kBatch;
    ran.seconds = seconds_since(begin);
  } while (ran.seconds < seconds || (checkpoints != nullptr && !checkpoints->complete()));
  ran.cpu = cpu_seconds(getpid()) + children_seconds() - cpu;
  return ran;
}

}  // namespace

std::unique_ptr<Checkpoints> make_checkpoints(std::string_view way, std::byte* region,
                                              std::size_t bytes) {
  if (way == "fork") return std::make_unique<ForkCheckpoints>(region, bytes);
  std::unique_ptr<DirtyPages> dirty = watch_pages(way, region, bytes);
  if (dirty == nullptr) return nullptr;
  return std::make_unique<IncrementalCheckpoints>(std::move(dirty), region, bytes);
}

bool measure_checkpoints(std::string_view way, std::size_t bytes) {
  std::uint64_t* const words = HostedBench::memory(bytes, false);
  auto* const region = reinterpret_cast<std::byte*>(words);
  const std::unique_ptr<Checkpoints> checkpoints = make_checkpoints(way, region, bytes);
  if (checkpoints == nullptr) return false;
  const OwnWork own;
  Requests requests(words, bytes / kGranuleBytes, own);

  // What a checkpoint costs depends on the interval (more pages are written in a longer one), and
  // the best interval on what it costs: a few rounds to find both, then the rounds that count.
  double interval = kFirstInterval;
  std::vector<double> plain_ns, costs, pauses, cpu;
  const unsigned rounds_in_all = quick() ? 2 : kSearches + kRounds;
  for (unsigned round = 0; round < rounds_in_all; ++round) {
    const double measured = std::min(interval, quick() ? 0.05 : kLongestMeasured);
    checkpoints->suspend();
    const Ran plain = run_for(requests, measured / 2, nullptr);
    run_for(requests, measured, checkpoints.get());  // what counts is the step from one to the next
    const Ran ran = run_for(requests, measured, checkpoints.get());
    const double each = plain.seconds / static_cast<double>(plain.requests);
    const double cost =
        std::max(1e-5, ran.seconds - each * static_cast<double>(ran.requests));
    if (round + 1 == kSearches && !quick()) {
      plain_ns.clear();
      costs.clear();
      pauses.clear();
      cpu.clear();
    }
    plain_ns.push_back(each * 1e9);
    costs.push_back(cost);
    pauses.push_back(ran.pause);
    cpu.push_back(ran.cpu / static_cast<double>(ran.requests) -
                  plain.cpu / static_cast<double>(plain.requests));
    if (round < kSearches)
      interval = std::max(kLeastInterval, std::sqrt(2 * median(costs) * kFaultEverySeconds));
  }
  const double cost = median(costs);
  interval = std::max(kLeastInterval, std::sqrt(2 * cost * kFaultEverySeconds));

  // Faults half-way between two checkpoints, as they are on the average.
  std::vector<double> back;
  for (unsigned i = 0; i < (quick() ? 1 : kFaults); ++i) {
    checkpoints->suspend();
    run_for(requests, 0, checkpoints.get());
    const std::uint64_t probe = i + 1;
    words[0] = probe;
    run_for(requests, 0, checkpoints.get());
    run_for(requests, std::min(interval, kLongestMeasured) / 2, nullptr);
    words[0] = 0;
    const std::uint64_t begin = now_ns();
    checkpoints->roll_back();
    back.push_back(seconds_since(begin));
    if (words[0] != probe) give_up("a checkpoint was not restored");
  }
  const double lost = interval / 2;  // until the fault; all users' work
  report("plain_ns", median(plain_ns), "ns", "a request without protection");
  report("cost_ms", cost * 1e3, "ms", "what a checkpoint costs the server in all");
  report("interval_ms", interval * 1e3, "ms", "Young's interval");
  report("extra_ns", median(plain_ns) * cost / interval, "ns", "of each request, on the average");
  report("overhead", cost / interval, "", "more time for the same work");
  report("checkpoint_pause_ms", median(pauses) * 1e3, "ms", "the server's pause at a checkpoint");
  report("lost_ms", lost * 1e3, "ms", "all users' work lost at a fault");
  report("pause_ms", median(back) * 1e3, "ms", "everybody's pause at a fault");
  report("cpu_extra_us", median(cpu) * 1e6, "us", "more processor time of a request, both processors");
  return true;
}

}  // namespace vmsrs::bench
