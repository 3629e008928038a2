// SPDX-License-Identifier: Apache-2.0
#include "support/scheduler.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace vmsrs::hooks {

unsigned open_hole = 0;

void step(Step step) {
  if (test::Scheduler::running != nullptr)
    test::Scheduler::running->at(step);
  else if (test::on_step_of_real_thread != nullptr)
    test::on_step_of_real_thread();
}

}  // namespace vmsrs::hooks

namespace vmsrs::test {

namespace {

constexpr std::size_t kStackBytes = 256 * 1024;

}  // namespace

AllChoices::AllChoices(std::vector<std::size_t> taken) {
  for (const std::size_t choice : taken) choices_.push_back({choice, choice + 1});
}

std::size_t AllChoices::choose(std::size_t count) {
  if (next_ == choices_.size()) choices_.push_back({0, count});
  if (choices_[next_].taken >= count) throw std::logic_error("a schedule does not repeat itself");
  return choices_[next_++].taken;
}

bool AllChoices::advance() {
  while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().count)
    choices_.pop_back();
  next_ = 0;
  if (choices_.empty()) return false;
  ++choices_.back().taken;
  return true;
}

std::size_t RandomChoices::choose(std::size_t count) {
  return random_() % kSeldom == 0 ? random_() % count : 0;
}

// Trailing zeroes are left out: a run takes them by itself.
std::string AllChoices::printed() const {
  std::size_t length = choices_.size();
  while (length > 0 && choices_[length - 1].taken == 0) --length;
  std::ostringstream text;
  for (std::size_t i = 0; i < length; ++i) text << (i == 0 ? "" : ",") << choices_[i].taken;
  return text.str();
}

void (*on_step_of_real_thread)() = nullptr;

const char* name_of(hooks::Step step) {
  static constexpr const char* kNames[] = {
      "S_open",         "S_mode",       "S_crashed",     "S_tag",       "S_over",
      "S_append",       "S_claim",      "S_confirm",     "S_mask",      "S_data",
      "S_close",        "L_data",       "L_mode",        "L_crashed",   "L_tag",
      "L_data2",        "L_over",       "L_owner",       "L_tag_again", "L_mode_again",
      "C_freed",        "C_tag",        "C_over",        "C_data",      "C_tag_again",
      "C_freed_again",  "END_tag",      "END_mask",      "END_data",    "END_call",
      "DRAIN_barrier",  "TS_tag",       "TS_take",       "TS_freeze",   "TS_contend",
      "TS_contend_tag", "TS_record",    "TS_repair",     "TL_tag",      "TL_data",
      "RESTORE_data",   "APPLY_mirror", "FREE_count",    "FREE_tag",    "FREED",
      "AGE_clear",      "SWEEP_claim",  "SWEEP_restore", "PUBLISH_cst", "PUBLISH_user",
      "PUBLISH_mode"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(hooks::Step::kCount));
  return kNames[static_cast<std::size_t>(step)];
}

Scheduler* Scheduler::running = nullptr;

void Scheduler::enter() {
  Scheduler& scheduler = *running;
  Fiber& fiber = scheduler.fibers_[scheduler.current_];
  fiber.body();
  fiber.finished = true;
  scheduler.reschedule(false);
}

Scheduler::End Scheduler::run(const std::vector<std::function<void()>>& bodies, Choices& choices,
                              unsigned preemptions) {
  fibers_.resize(bodies.size());
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    Fiber& fiber = fibers_[i];
    if (fiber.stack == nullptr) fiber.stack.reset(new char[kStackBytes]);
    fiber.body = bodies[i];
    fiber.finished = fiber.paused = false;
    fiber.ran_last = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  choices_ = &choices;
  preemptions_left_ = preemptions;
  steps_ = 0;
  free_choices_left_ = kFreeChoices;
  stuck_ = false;
  running = this;
  current_ = bodies.size() > 1 ? choices.choose(bodies.size()) : 0;
  swapcontext(&home_, &fibers_[current_].context);
  running = nullptr;
  return stuck_ ? End::kStuck : End::kDone;
}

void Scheduler::at(hooks::Step step) {
  if (++steps_ > kMostSteps) {
    stuck_ = true;
    setcontext(&home_);
  }
  for (std::size_t i = 0; i < fibers_.size(); ++i)
    if (i != current_) fibers_[i].paused = false;
  reschedule(true);
  if (on_step) on_step(step);
}

void Scheduler::pause() {
  if (++steps_ > kMostSteps) {
    stuck_ = true;
    setcontext(&home_);
  }
  fibers_[current_].paused = true;
  reschedule(false);
}

void Scheduler::reschedule(bool can_go_on) {
  if (can_go_on && preemptions_left_ == 0) return;
  std::vector<std::size_t> others;
  bool all_finished = fibers_[current_].finished;
  for (const bool paused : {false, true}) {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      if (i == current_) continue;
      all_finished = all_finished && fibers_[i].finished;
      if (!fibers_[i].finished && fibers_[i].paused == paused) others.push_back(i);
    }
    if (!others.empty()) break;  // who waits goes on only if nobody else can
  }
  if (can_go_on) {
    if (others.empty()) return;
    const std::size_t choice = choices_->choose(1 + others.size());
    if (choice == 0) return;
    --preemptions_left_;
    return switch_to(others[choice - 1]);
  }
  if (all_finished) setcontext(&home_);
  if (others.empty()) return;  // waits for itself
  if (others.size() > 1 && free_choices_left_ > 0) {
    --free_choices_left_;
    return switch_to(others[choices_->choose(others.size())]);
  }
  switch_to(*std::min_element(others.begin(), others.end(), [this](std::size_t a, std::size_t b) {
    return fibers_[a].ran_last < fibers_[b].ran_last;
  }));
}

void Scheduler::switch_to(std::size_t next) {
  const std::size_t last = std::exchange(current_, next);
  fibers_[next].paused = false;
  fibers_[last].ran_last = steps_;
  swapcontext(&fibers_[last].context, &fibers_[next].context);
}

}  // namespace vmsrs::test
