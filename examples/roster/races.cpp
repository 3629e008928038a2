// SPDX-License-Identifier: Apache-2.0
// The two scenarios that are about an instant: somebody reads just while suppression is being
// entered (5.1.3-1), or between a write and what is noted of it (5.1.3-3). The reader sleeps until
// a random moment around that instant, and so preempts whoever is at it, on one processor as on
// several; and this is done many times.
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>
#include <vector>

#include "actor.hpp"
#include "clerks.hpp"
#include "scenarios.hpp"

namespace roster {

namespace {

using memory::Kind;

constexpr std::size_t kRead = 8;  // employees, of each sweep of the reader
constexpr std::uint64_t kPolluted = 90'000;

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_until(std::uint64_t instant_ns) {
  const timespec at{static_cast<time_t>(instant_ns / 1'000'000'000u),
                    static_cast<long>(instant_ns % 1'000'000'000u)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

// An instant that somebody will read around. What takes place there takes from kBegun to kDone.
class Instant {
 public:
  enum Phase : unsigned { kBefore, kBegun, kDone };

  // Before each round. The reader shall come at random within half as long again as what takes
  // place took so far; so it gets up earlier by what it was late so far.
  void prepare() {
    constexpr std::uint64_t kLead = 300'000, kFirst = 20'000, kLatest = 5'000'000;
    const std::uint64_t late = std::min(median(late_, 0), kLatest);
    const std::uint64_t most = median(took_, kFirst) * 3 / 2;
    phase_ = kBefore;
    at_ = now_ns() + kLead + 2 * late;
    reader_at_ = at_ - late + std::uniform_int_distribution<std::uint64_t>(0, most)(random_);
  }
  void reader_waits() {
    sleep_until(reader_at_);
    late_.push_back(now_ns() - reader_at_);
  }
  void other_reader_waits() const { sleep_until(reader_at_); }
  void doer_waits() const {
    while (now_ns() < at_) __builtin_ia32_pause();
  }
  void begin() {
    begun_ = now_ns();
    phase_ = kBegun;
  }
  // Async-signal-safe.
  void done() {
    if (phase_.exchange(kDone) == kBegun) took_.push_back(now_ns() - begun_);
  }
  Phase phase() const { return static_cast<Phase>(phase_.load()); }

  void expect(std::size_t rounds) { took_.reserve(rounds); }

 private:
  static std::uint64_t median(std::vector<std::uint64_t> values, std::uint64_t otherwise) {
    if (values.empty()) return otherwise;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }

  std::atomic<unsigned> phase_{kBefore};
  std::uint64_t at_ = 0, reader_at_ = 0, begun_ = 0;
  std::vector<std::uint64_t> took_;  // each round's, in nanoseconds
  std::vector<std::uint64_t> late_;  // of the reader, the same
  std::mt19937_64 random_{1};
};

// What a reader saw, sweep by sweep, of values that are `early` until something happens and `late`
// from then on.
struct Seen {
  std::uint64_t sweeps = 0;
  std::uint64_t during = 0;     // rounds in which one of them began while it was happening
  std::uint64_t straddled = 0;  // with early values and then late ones: it happened within them
  std::uint64_t back = 0;       // an early value after a late one: wrong
  std::uint64_t stale = 0;      // an early value in a sweep that began after it was done: wrong
  std::uint64_t strange = 0;    // neither: wrong

  void print(const std::string& who) const {
    say(who,
        "sweeps %llu, rounds while it happened %llu, straddled %llu, back %llu, stale %llu, "
        "strange %llu",
        static_cast<unsigned long long>(sweeps), static_cast<unsigned long long>(during),
        static_cast<unsigned long long>(straddled), static_cast<unsigned long long>(back),
        static_cast<unsigned long long>(stale), static_cast<unsigned long long>(strange));
  }
};

// Sweeps until one has begun after it was done. early(n), late(n): of employee n.
template <typename Early, typename Late>
void sweep(const Roster& roster, const Instant& instant, std::size_t employees, Seen& seen,
           Early early, Late late) {
  bool any_late = false;
  bool was_there = false;
  for (bool last = false; !last;) {
    const Instant::Phase phase = instant.phase();
    last = phase == Instant::kDone;
    ++seen.sweeps;
    was_there |= phase == Instant::kBegun;
    bool some_early = false, some_late = false;
    for (std::size_t number = 1; number <= employees; ++number) {
      const std::uint64_t salary = roster.salary(number);
      const bool is_late = salary == late(number);
      if (!is_late && salary != early(number)) ++seen.strange;
      if (!is_late && any_late) ++seen.back;
      if (!is_late && last) ++seen.stale;
      (is_late ? some_late : some_early) = true;
      any_late |= is_late;
    }
    seen.straddled += some_early && some_late;
    __builtin_ia32_pause();  // an emulator of several processors in turn goes on to the next
  }
  seen.during += was_there;
}

// As many rounds as were asked for, and then on until the reader has come at the instant often
// enough, within bounds.
unsigned most_rounds(const Options& options) { return std::max(options.rounds, 1500u); }
bool enough(unsigned rounds, const Options& options, const Seen& seen) {
  constexpr std::uint64_t kOften = 5;
  return rounds >= options.rounds && (seen.during >= kOften || rounds >= most_rounds(options));
}

// A thread that wakes up when it says.
void wake_punctually() { prctl(PR_SET_TIMERSLACK, 1); }

}  // namespace

void reader_while_suppression_is_entered(const Scene& scene) {
  const Clerks clerks(scene.roster);
  Roster& roster = scene.roster;
  const auto old_of = [](std::size_t number) { return 3000 + 100 * number; };
  const auto polluted_of = [](std::size_t number) { return kPolluted + number; };
  Actor zero(0), three(3), four(4);
  Instant instant;
  instant.expect(most_rounds(scene.options));
  zero.on_crash = [&] { instant.done(); };
  Seen seen, committed;
  unsigned failed = 0;
  say("round 1", "before: %s", roster.read({1, 2, 3, 4, 5, 6, 7, 8}).c_str());
  unsigned round = 0;
  for (; !enough(round, scene.options, seen); ++round) {
    zero.begin();
    zero.does([&] {
      for (std::size_t number = 1; number <= kRead; ++number)
        roster.set_salary(number, polluted_of(number));
    });
    if (round == 0)
      zero.does([&] {
        say(zero.name(), "prints %s", roster.read({1, 2, 3, 4, 5, 6, 7, 8}).c_str());
      });
    three.begin();
    four.begin(Kind::reader);
    instant.prepare();
    // Two readers: one of whatever is there, one of committed values. The first may see what user 0
    // has not finished, as nobody holds a lock; but from one instant on it may not any more.
    three.starts([&] {
      wake_punctually();
      instant.reader_waits();
      sweep(roster, instant, kRead, seen, polluted_of, old_of);
    });
    four.starts([&] {
      wake_punctually();
      instant.other_reader_waits();
      sweep(roster, instant, kRead, committed, old_of, old_of);
    });
    zero.does([&] {
      instant.doer_waits();
      instant.begin();
      commit_fault(scene.options.fault, scene.memory);
      for (std::size_t number = 1; number <= kRead; ++number)
        roster.set_salary(number, polluted_of(number));  // counts no longer
    });
    three.waits();
    four.waits();
    if (round == 0)
      three.does([&] {
        say(three.name(), "reads during %s", roster.read({1, 2, 3, 4, 5, 6, 7, 8}).c_str());
      });
    three.ends();
    four.ends();
    failed += zero.ends() == memory::Outcome::suppressed;
  }
  say("rounds", "%u, in each user 0 crashed; told that it failed %u", round, failed);
  seen.print("user 3");
  committed.print("user 4");
  say("roster", "reads after %s", roster.read({1, 2, 3, 4, 5, 6, 7, 8}).c_str());
}

void reader_between_data_and_metadata(const Scene& scene) {
  const Clerks clerks(scene.roster);
  Roster& roster = scene.roster;
  Actor zero(0), three(3), four(4);
  Instant instant;
  instant.expect(most_rounds(scene.options));
  Seen seen;
  unsigned failed = 0, kept = 0;
  std::uint64_t before = roster.salary(1);
  say("round 1", "before: %s", roster.read({1}).c_str());
  unsigned round = 0;
  for (; !enough(round, scene.options, seen); ++round) {
    const std::uint64_t next = 4100 + round;
    const auto was = [&](std::size_t) { return before; };
    const auto is = [&](std::size_t) { return next; };
    zero.begin();
    zero.does([&] {
      roster.set_salary(1, kPolluted + round);
      if (round == 0) say(zero.name(), "writes %s", roster.read({1}).c_str());
      commit_fault(scene.options.fault, scene.memory);
      roster.set_salary(1, kPolluted + round);  // counts no longer
    });
    four.begin();
    three.begin();
    instant.prepare();
    three.starts([&] {
      wake_punctually();
      instant.reader_waits();
      sweep(roster, instant, 1, seen, was, is);
    });
    four.does([&] {
      instant.doer_waits();
      instant.begin();
      roster.set_salary(1, next);
      instant.done();
      if (round == 0) say(four.name(), "writes %s", roster.read({1}).c_str());
    });
    three.waits();
    if (round == 0)
      three.does([&] { say(three.name(), "reads during %s", roster.read({1}).c_str()); });
    four.ends();
    three.ends();
    failed += zero.ends() == memory::Outcome::suppressed;
    kept += roster.salary(1) == next;  // user 0's collection has not taken it back
    before = next;
  }
  say("rounds", "%u, in each user 0 crashed; told that it failed %u", round, failed);
  say("rounds", "%u in which user 4's value was there after user 0's end", kept);
  seen.print("user 3");
  say("roster", "reads after %s", roster.read({1}).c_str());
}

}  // namespace roster
