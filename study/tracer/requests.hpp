// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "granules.hpp"

// Which request each thread is at work on, told by its system calls. A request begins with the
// first bytes that are received on an accepted connection after the last answer, and its piece on a
// thread ends where the thread waits or turns to another connection. Not thread-safe.
namespace vmsrs::study {

enum class UserIs : std::uint8_t { request, connection, thread };

using RequestNumber = std::uint32_t;  // from 1 on; 0: none

// Of a thread.
struct AtWork {
  RequestNumber request = 0;
  UserNumber user = kNobody;
  int connection = -1;
};

// What a call received or sent.
struct Transfer {
  bool received = false;
  std::uint64_t bytes = 0;
};

class Requests {
 public:
  explicit Requests(UserIs user_is) : user_is_(user_is) {}
  // Called when a request has been answered and its thread has left it.
  std::function<void(RequestNumber, const AtWork&)> on_finished;

  void before_call(AtWork& thread, std::int64_t number, std::uint64_t first_argument);
  void after_call(AtWork& thread, unsigned thread_number, std::int64_t number,
                  std::uint64_t first_argument, std::int64_t result);

  [[nodiscard]] RequestNumber begun() const { return begun_; }
  [[nodiscard]] RequestNumber finished() const { return finished_; }
  [[nodiscard]] std::uint32_t connections() const { return accepted_; }

 private:
  struct Connection {
    std::uint32_t number = 0;
    RequestNumber request = 0;
    bool answered = true;
  };

  void leave(AtWork& thread);
  void enter(AtWork& thread, unsigned thread_number, int file, const Connection& connection) const;

  UserIs user_is_;
  std::unordered_map<int, Connection> connections_;  // by file descriptor
  std::uint32_t accepted_ = 0;
  RequestNumber begun_ = 0, finished_ = 0;
};

}  // namespace vmsrs::study
