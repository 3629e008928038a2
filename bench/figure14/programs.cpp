// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "figure14.hpp"

namespace vmsrs::bench {
namespace {

constexpr double kTurnNs = 500'000;
constexpr std::size_t kSharedBytes = 16 * VMSRS_PAGE_BYTES;
constexpr std::size_t kSharedWords = kSharedBytes / sizeof(std::uint64_t);

// Each program: request<Arm>(i) is one user's work on `shared`, and accesses() how many monitored
// accesses that was. Memory that is a request's own is not monitored, as in a server that was
// adapted by hand (the paper, 4.7: most of a server's operations need no monitoring).

// A staff roster: a request names an employee in text; it is found by halving, and its row printed.
struct Roster {
  static constexpr const char* kName = "roster_lookup";
  static constexpr std::uint64_t kEmployees = kSharedWords / kGranuleWords;
  explicit Roster(std::uint64_t* words) : shared(words) {
    for (std::uint64_t i = 0; i < kEmployees; ++i) shared[i * kGranuleWords] = 17 * i;
  }
  template <typename Arm>
  void request(std::uint64_t i) {
    constexpr unsigned kLookups = 16;  // in one request
    for (unsigned n = 0; n < kLookups; ++n) {
      char text[96];
      std::snprintf(text, sizeof text, "%llu",
                    static_cast<unsigned long long>(17 * ((i * kLookups + n) * 7919 % kEmployees)));
      const std::uint64_t wanted = std::strtoull(text, nullptr, 10);
      std::uint64_t low = 0, high = kEmployees;
      while (high - low > 1) {
        const std::uint64_t middle = (low + high) / 2;
        ++accesses;
        (Arm::load(shared + middle * kGranuleWords) <= wanted ? low : high) = middle;
      }
      const std::uint64_t* const row = shared + low * kGranuleWords;
      accesses += 3;
      std::snprintf(text, sizeof text, "employee %llu department %llu salary %llu",
                    static_cast<unsigned long long>(Arm::load(row)),
                    static_cast<unsigned long long>(Arm::load(row + 1)),
                    static_cast<unsigned long long>(Arm::load(row + 2)));
      asm volatile("" : : "r"(text) : "memory");
    }
  }
  std::uint64_t* shared;
  std::uint64_t accesses = 0;
};

// The same, and the salary of each employee that was found is raised.
struct RosterChange : Roster {
  static constexpr const char* kName = "roster_change";
  using Roster::Roster;
  template <typename Arm>
  void request(std::uint64_t i) {
    Roster::request<Arm>(i);
    std::uint64_t* const salary = shared + i % kEmployees * kGranuleWords + 2;
    accesses += 2;
    Arm::store(salary, Arm::load(salary) + 1);
  }
};

// Counts the words of a text of its own by their first letters, and adds that up for all users.
struct WordCount {
  static constexpr const char* kName = "word_count";
  static constexpr std::size_t kTextBytes = 16384;
  static constexpr std::size_t kLetters = 26;
  explicit WordCount(std::uint64_t* words) : shared(words), text(kTextBytes) {
    std::mt19937 random(1);
    for (char& c : text) c = random() % 6 == 0 ? ' ' : static_cast<char>('a' + random() % kLetters);
  }
  template <typename Arm>
  void request(std::uint64_t) {
    std::uint64_t counts[kLetters] = {};
    char before = ' ';
    for (const char c : text) {
      if (before == ' ' && c != ' ') ++counts[c - 'a'];
      before = c;
    }
    asm volatile("" : : "r"(counts) : "memory");
    for (std::size_t i = 0; i < kLetters; ++i)
      Arm::store(shared + i, Arm::load(shared + i) + counts[i]);
    accesses += 2 * kLetters;
  }
  std::uint64_t* shared;
  std::vector<char> text;
  std::uint64_t accesses = 0;
};

// Sorts shared numbers in memory of its own and shares some of the order.
struct Sort {
  static constexpr const char* kName = "sort";
  static constexpr std::size_t kNumbers = 1024, kShared = 32;
  explicit Sort(std::uint64_t* words) : shared(words), own(kNumbers) {
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < kNumbers; ++i) shared[i] = random();
  }
  template <typename Arm>
  void request(std::uint64_t) {
    for (std::size_t i = 0; i < kNumbers; ++i) own[i] = Arm::load(shared + i);
    std::sort(own.begin(), own.end());
    for (std::size_t i = 0; i < kShared; ++i)
      Arm::store(shared + kNumbers + i, own[i * (kNumbers / kShared)]);
    accesses += kNumbers + kShared;
  }
  std::uint64_t* shared;
  std::vector<std::uint64_t> own;
  std::uint64_t accesses = 0;
};

template <typename Program, typename Arm>
[[gnu::noinline]] void run(Program& program, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Arm::begin(i + 1);
    program.template request<Arm>(i);
    Arm::end();
  }
}

template <typename Program>
void measure(const char* mode) {
  Program plain(HostedBench::memory(kSharedBytes, false));
  // Filled before it is profiled: then that is what is committed.
  std::uint64_t* const memory = HostedBench::memory(kSharedBytes, false);
  Program monitored(memory);
  if (profile(memory, kSharedBytes, kGranuleBytes) != 0) give_up(vmsrs_error_message());
  const std::uint64_t count = count_in(kTurnNs, [&] { run<Program, Plain>(plain, 1); });
  const Comparison compared = compare(
      count, [&] { run<Program, Plain>(plain, count); },
      [&] { run<Program, Monitored>(monitored, count); });
  plain.accesses = 0;
  run<Program, Plain>(plain, 1);
  const auto accesses = static_cast<double>(plain.accesses);
  const double each = machine != nullptr ? compared.plain : static_cast<double>(instructions([&] {
    run<Program, Plain>(plain, 1);
  }));
  report_comparison(std::string(mode) + "_" + Program::kName, compared, accesses, each);
  if (machine == nullptr)
    report((std::string(mode) + "_" + Program::kName + "_us").c_str(), compared.plain / 1e3, "us",
           "a request without VMSRS");
}

void measure_all(const char* mode) {
  measure<Roster>(mode);
  measure<RosterChange>(mode);
  measure<WordCount>(mode);
  measure<Sort>(mode);
}

}  // namespace

void ordinary_programs() {
  measure_all("normal");
  std::uint64_t* const elsewhere = HostedBench::memory(VMSRS_PAGE_BYTES, true);
  const WaitingUsers crashed(1, true, elsewhere, 8);
  measure_all("suppression");
}

}  // namespace vmsrs::bench
