// SPDX-License-Identifier: Apache-2.0
#include "roster.hpp"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "memory.hpp"

namespace roster {

namespace {
constexpr const char* kNames[kEmployees] = {
    "Ada Byers",   "Ben Castle", "Cleo Dorn",   "Dan Eckert", "Eve Farrow",  "Finn Gale",
    "Gwen Harrow", "Hal Ibsen",  "Iris Jonsen", "Jon Keller", "Kay Lorimer", "Leo Marsh"};
constexpr std::uint64_t kFirstSalary = 3100;
}  // namespace

Roster::Roster(void* memory) : employees_(static_cast<Employee*>(memory)) {
  for (std::size_t i = 0; i < kEmployees; ++i) {
    employees_[i] = {i + 1, {}, i % 3 + 1, kFirstSalary + 100 * i, 0, 0};
    std::strncpy(reinterpret_cast<char*>(employees_[i].name), kNames[i],
                 sizeof employees_[i].name - 1);
  }
}

std::uint64_t Roster::salary(std::size_t number) const {
  return memory::load(&employees_[number - 1].salary);
}
void Roster::set_salary(std::size_t number, std::uint64_t salary) {
  memory::store(&employees_[number - 1].salary, salary);
}
std::uint64_t Roster::changes(std::size_t number) const {
  return memory::load(&employees_[number - 1].changes);
}
void Roster::set_changes(std::size_t number, std::uint64_t changes) {
  memory::store(&employees_[number - 1].changes, changes);
}

std::string Roster::name(std::size_t number) const {
  std::uint64_t words[kNameWords];
  for (std::size_t i = 0; i < kNameWords; ++i)
    words[i] = memory::load(&employees_[number - 1].name[i]);
  char text[sizeof words];
  std::memcpy(text, words, sizeof words);
  return {text, strnlen(text, sizeof text)};
}

std::string Roster::read(std::initializer_list<std::size_t> numbers) const {
  std::string text;
  for (const std::size_t number : numbers) {
    if (!text.empty()) text += ' ';
    text += std::to_string(number) + ':' + std::to_string(salary(number));
  }
  return text;
}

void Roster::print() const {
  std::puts("number  name                     department  salary");
  for (std::size_t i = 0; i < kEmployees; ++i)
    std::printf("%6zu  %-23s  %10" PRIu64 "  %6" PRIu64 "\n", i + 1, name(i + 1).c_str(),
                memory::load(&employees_[i].department), salary(i + 1));
  std::fflush(stdout);
}

void say(const std::string& who, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::printf("%-8s %s\n", who.c_str(), text);
  std::fflush(stdout);
}

}  // namespace roster
