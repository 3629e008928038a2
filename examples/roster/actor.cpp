// SPDX-License-Identifier: Apache-2.0
#include "actor.hpp"

#include <cstdlib>
#include <utility>

#include "roster.hpp"

namespace roster {

namespace {
// A scenario without one of its users is none.
[[noreturn]] void give_up(const std::string& who) {
  say(who, "is refused");
  std::_Exit(1);
}
}  // namespace

Actor::Actor(unsigned number)
    : number_(number), name_("user " + std::to_string(number)), thread_([this] { live(); }) {}

Actor::~Actor() {
  tell({});
  thread_.join();
}

void Actor::begin(memory::Kind kind) {
  kind_ = kind;
  does([] {});
}

void Actor::does(std::function<void()> step) {
  starts(std::move(step));
  waits();
}

memory::Outcome Actor::ends() {
  tell({});
  waits();
  return outcome_;
}

memory::Outcome Actor::request(memory::Kind kind, std::function<void()> step) {
  begin(kind);
  does(std::move(step));
  return ends();
}

void Actor::starts(std::function<void()> step) { tell(std::move(step)); }

void Actor::waits() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !told_; });
}

void Actor::tell(std::function<void()> step) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !told_; });
  step_ = std::move(step);
  told_ = true;
  changed_.notify_all();
}

// Waits for the next step. False: it is to end. Its having been done is told by the next take(), or
// by whoever ends the scope.
bool Actor::take(std::function<void()>& step) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return told_; });
  step = std::exchange(step_, {});
  return static_cast<bool>(step);
}

void Actor::live() {
  const auto done = [this] {
    const std::lock_guard guard(mutex_);
    told_ = false;
    changed_.notify_all();
  };
  std::function<void()> step;
  while (take(step)) {
    outcome_ = memory::run(
        kind_, number_,
        [&] {
          do {
            step();
            done();
          } while (take(step));
        },
        [this] { on_crash(); });
    if (outcome_ == memory::Outcome::refused) give_up(name_);
    done();
  }
}

}  // namespace roster
