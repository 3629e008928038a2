// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>
#include <vmsrs/test_hooks.hpp>

namespace vmsrs::test {

// Which thread goes on, at each instant of a run where another could. A run is determined by its
// choices: taking the same ones again gives the same run.
class Choices {
 public:
  virtual ~Choices() = default;
  // One of `count` (at least 2); 0 goes on with the thread that runs, if it can go on.
  virtual std::size_t choose(std::size_t count) = 0;
};

// One schedule after another until all were tried.
class AllChoices : public Choices {
 public:
  // The choices to begin with, as printed(); all others 0 at first.
  explicit AllChoices(std::vector<std::size_t> taken = {});
  std::size_t choose(std::size_t count) override;
  // False: there is no further schedule.
  bool advance();
  std::string printed() const;

 private:
  struct Choice {
    std::size_t taken, count;
  };
  std::vector<Choice> choices_;
  std::size_t next_ = 0;
};

// Goes on with the thread that runs, but now and then.
class RandomChoices : public Choices {
 public:
  explicit RandomChoices(std::uint64_t seed) : random_(seed) {}
  std::size_t choose(std::size_t count) override;

 private:
  static constexpr std::uint64_t kSeldom = 6;
  std::mt19937_64 random_;
};

const char* name_of(hooks::Step step);
// Called at each step while no scheduler runs; nullptr: nothing is.
extern void (*on_step_of_real_thread)();

// Threads of a test that run one at a time, switched at the steps of the protocol (test_hooks.hpp).
// All of them live in the thread that runs the scheduler. One scheduler at a time runs.
class Scheduler {
 public:
  enum class End { kDone, kStuck };  // stuck: for kMostSteps nobody came to an end
  static constexpr std::uint64_t kMostSteps = 20'000;
  // Who goes on when a thread waits or ends is a choice so often in a run; then it is the one that
  // did not run for longest, for else waiting threads could take turns for ever.
  static constexpr unsigned kFreeChoices = 6;

  // Runs all bodies to their ends. A thread that could go on is made to wait at most `preemptions`
  // times. After kStuck the threads' stacks are given up as they stand: nothing that they used can
  // be used again.
  End run(const std::vector<std::function<void()>>& bodies, Choices& choices, unsigned preemptions);

  // The running thread cannot go on before another one has done something.
  void pause();
  std::size_t current() const { return current_; }
  // Called at each step, when the thread goes on to take it: until the next step it is alone.
  std::function<void(hooks::Step)> on_step;

  static Scheduler* running;  // nullptr: none

 private:
  friend void hooks::step(hooks::Step);
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    std::function<void()> body;
    bool finished, paused;
    std::uint64_t ran_last;  // when it was switched away from
  };
  static void enter();
  void at(hooks::Step step);
  // Who goes on, the running thread (if it can) first.
  void reschedule(bool can_go_on);
  void switch_to(std::size_t next);

  std::vector<Fiber> fibers_;
  ucontext_t home_;
  std::size_t current_ = 0;
  Choices* choices_ = nullptr;
  unsigned preemptions_left_ = 0;
  std::uint64_t steps_ = 0;
  unsigned free_choices_left_ = 0;
  bool stuck_ = false;
};

}  // namespace vmsrs::test
