// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "roster.hpp"

namespace roster {

// Normal users who change and read the roster all the while, beside whatever a scenario does: the
// paper's base scene (5.1). Each has an employee of its own, counts what it has changed there, and
// watches another clerk's count, which must never go back.
class Clerks {
 public:
  static constexpr std::size_t kFirstEmployee = 10;
  static constexpr unsigned kCount = 3;
  static_assert(kFirstEmployee + kCount - 1 == kEmployees);

  explicit Clerks(Roster& roster);
  // Stops them, and says what each has finished and what the roster holds of it.
  ~Clerks();
  Clerks(const Clerks&) = delete;
  Clerks& operator=(const Clerks&) = delete;

  // Has each of them finish some more, whatever else goes on.
  void let_work() const;

 private:
  struct Clerk {
    std::atomic<std::uint64_t> finished{0};  // changes
    std::uint64_t told = 0;                  // scopes that failed, and said so
    std::uint64_t reads = 0, backwards = 0;  // of the other's count
    std::thread thread;
  };
  void work(unsigned number);

  Roster& roster_;
  std::atomic<bool> over_{false};
  std::vector<Clerk> clerks_;
};

}  // namespace roster
