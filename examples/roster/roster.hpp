// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

// The staff roster: what the users of this server share. Employees are numbered from 1. One region,
// one employee a granule, so that what different users change lies apart.
namespace roster {

constexpr std::size_t kGranuleBytes = 64;
constexpr std::size_t kNameWords = 3;
constexpr std::size_t kEmployees = 12;

struct alignas(kGranuleBytes) Employee {
  std::uint64_t number;
  std::uint64_t name[kNameWords];  // text, filled up with zeroes
  std::uint64_t department;
  std::uint64_t salary;
  std::uint64_t changes;  // by the clerks
  std::uint64_t reserved;
};
static_assert(sizeof(Employee) == kGranuleBytes);

// All functions may be called by several threads at once, within users' scopes (memory.hpp).
class Roster {
 public:
  static constexpr std::size_t kBytes = 4096;
  static_assert(kEmployees * sizeof(Employee) <= kBytes);

  // Fills `memory`, kBytes of it, before anybody shares or protects it.
  explicit Roster(void* memory);

  std::string name(std::size_t number) const;
  std::uint64_t salary(std::size_t number) const;
  void set_salary(std::size_t number, std::uint64_t salary);
  std::uint64_t changes(std::size_t number) const;
  void set_changes(std::size_t number, std::uint64_t changes);

  // "NUMBER:SALARY ..." of the employees named; what the calling user reads now.
  std::string read(std::initializer_list<std::size_t> numbers) const;
  // Prints every employee, for people.
  void print() const;

 private:
  Employee* const employees_;
};

// One line of the transcript: who, and what. Written at once, as the next step may be the last.
[[gnu::format(printf, 2, 3)]] void say(const std::string& who, const char* format, ...);

}  // namespace roster
