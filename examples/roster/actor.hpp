// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "memory.hpp"

namespace roster {

// A user and its thread, which does what it is told, step by step, so that a scenario reads from
// top to bottom and its users take turns in the order written there. Turns take the place of locks:
// two users are only at work at once where a scenario says starts(). One thread tells.
class Actor {
 public:
  explicit Actor(unsigned number);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  const std::string& name() const { return name_; }

  // Opens the user's scope, has `step` done within it, closes the scope.
  void begin(memory::Kind kind = memory::Kind::user);
  void does(std::function<void()> step);
  memory::Outcome ends();
  // All three; a request of one step.
  memory::Outcome request(memory::Kind kind, std::function<void()> step);

  // The same without waiting for it: waits() does.
  void starts(std::function<void()> step);
  void waits();

  // Called in the fault handler, at the crash. Set it before begin().
  std::function<void()> on_crash = [] {};

 private:
  void live();
  bool take(std::function<void()>& step);
  void tell(std::function<void()> step);

  const unsigned number_;
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> step_;  // empty: end what is open, scope or life
  bool told_ = false;
  memory::Kind kind_ = memory::Kind::user;
  memory::Outcome outcome_ = memory::Outcome::refused;
  std::thread thread_;
};

}  // namespace roster
