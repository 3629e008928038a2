// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Eager regions as a program uses them whose loads are plain ones.
using namespace vmsrs::test;

namespace {

constexpr std::size_t kBytes = 512 * 1024;  // several pieces of a restoration
constexpr std::size_t kWords = kBytes / 8;

// A second region, which is eager; words hold their numbers.
class EagerRegion : public DefaultServer {
 public:
  EagerRegion()
      : at_(static_cast<std::uint64_t*>(
            mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    for (std::size_t i = 0; i < kWords; ++i) at_[i] = i;
    vmsrs_profile_options options{};
    options.eager = true;
    BOOST_REQUIRE_MESSAGE(vmsrs_profile(at_, kBytes, 64, &options) == VMSRS_PROFILED_NEW,
                          vmsrs_error_message());
  }
  std::uint64_t* at(std::size_t word) { return at_ + word; }
  // As a program reads it that knows nothing of the library.
  std::uint64_t plain(std::size_t word) const {
    return *static_cast<const volatile std::uint64_t*>(at_ + word);
  }
  std::size_t wrong_words() const {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < kWords; ++i) wrong += plain(i) != i;
    return wrong;
  }

 private:
  std::uint64_t* at_;
};

void wait_until(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::yield();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eager)

// The other thread looks as soon as it is told, while the crashed user runs on.
BOOST_FIXTURE_TEST_CASE(another_thread_reads_plainly, EagerRegion) {
  const std::uint64_t restored = server_info().crash_restore_count;
  const std::uint64_t swept = server_info().sweep_restore_count;
  BOOST_CHECK_EQUAL(server_info().eager_region_count, 1u);
  constexpr unsigned kRounds = 12;
  for (unsigned round = 0; round < kRounds; ++round) {
    seam.touch_every = round % 2 == 0 ? 0 : 3;
    std::atomic<bool> told{false}, looked{false};
    std::size_t wrong = ~std::size_t{0};
    std::thread other([&] {
      wait_until(told);
      wrong = wrong_words();
      looked = true;
    });
    const int outcome = run(
        [&] {
          for (std::size_t i = 0; i < 900; ++i) vmsrs::store(at(i * 60), std::uint64_t{666});
          vmsrs_fill_range(at(1000), 0x66, 4096);
          std::memset(at(60'000), 0x77, 100);  // what ends in a fault often begins so
          *static_cast<volatile std::uint64_t*>(wild()) = 1;
          for (std::size_t i = 0; i < 900; ++i) vmsrs::store(at(i * 60), std::uint64_t{667});
          wait_until(looked);
        },
        [](void* flag) { *static_cast<std::atomic<bool>*>(flag) = true; }, &told);
    other.join();
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(wrong, 0u);
    BOOST_CHECK_EQUAL(wrong_words(), 0u);
  }
  seam.touch_every = 0;
  BOOST_CHECK_GE(server_info().crash_restore_count, restored + kRounds * 900);
  BOOST_CHECK_GE(server_info().sweep_restore_count, swept + kRounds);
}

// What a user who goes on has stored to the same granules stays.
BOOST_FIXTURE_TEST_CASE(beside_a_user_that_finishes, EagerRegion) {
  std::atomic<bool> stored{false}, crashed{false};
  std::size_t wrong = 0;
  std::thread other([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        for (std::size_t i = 1; i < kWords; i += 8)
                          vmsrs::store(at(i), std::uint64_t{1} << 40);
                        stored = true;
                        wait_until(crashed);
                        for (std::size_t i = 0; i < kWords; ++i)
                          wrong += plain(i) != (i % 8 == 1 ? std::uint64_t{1} << 40 : i);
                      }),
                      VMSRS_FINISHED);
  });
  BOOST_CHECK_EQUAL(
      run(
          [&] {
            wait_until(stored);
            for (std::size_t i = 1; i < 8 * 200; i += 4) vmsrs::store(at(i), std::uint64_t{666});
            *static_cast<volatile std::uint64_t*>(wild()) = 1;
          },
          [](void* flag) { *static_cast<std::atomic<bool>*>(flag) = true; }, &crashed),
      VMSRS_SUPPRESSED);
  other.join();
  BOOST_CHECK_EQUAL(wrong, 0u);
}

// By a watchdog, and by an operator: nobody has told what the user wrote.
BOOST_FIXTURE_TEST_CASE(a_user_declared_crashed, EagerRegion) {
  for (const bool by_operator : {false, true}) {
    std::atomic<std::uint64_t> number{0};
    std::atomic<bool> go{false};
    int outcome = -1;
    std::thread suspect([&] {
      outcome = run([&] {
        for (std::size_t i = 0; i < 900; ++i) vmsrs::store(at(i * 60), std::uint64_t{666});
        number = vmsrs_user_number();
        wait_until(go);
        vmsrs::store(at(0), std::uint64_t{667});
      });
    });
    while (number == 0) std::this_thread::yield();
    BOOST_CHECK_EQUAL(plain(60), 666u);
    if (by_operator) {
      suppress_as_operator(number);
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (wrong_words() > 0 && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else {
      BOOST_CHECK_EQUAL(vmsrs_user_suppress(number), 0);
    }
    BOOST_CHECK_EQUAL(wrong_words(), 0u);
    go = true;
    suspect.join();
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(wrong_words(), 0u);
  }
}

BOOST_FIXTURE_TEST_CASE(options, EagerRegion) {
  BOOST_CHECK_EQUAL(vmsrs_profile(at(0), kBytes, 64, nullptr), VMSRS_ERROR_ARGUMENT);
  alignas(VMSRS_PAGE_BYTES) static std::uint64_t page[VMSRS_PAGE_BYTES / 8];
  vmsrs_profile_options named{};
  named.name = "two words";
  BOOST_CHECK_EQUAL(vmsrs_profile(page, sizeof page, 8, &named), VMSRS_ERROR_ARGUMENT);
  named.name = "named";
  named.eager = true;
  BOOST_CHECK_EQUAL(vmsrs_profile(page, sizeof page, 8, &named), VMSRS_PROFILED_NEW);
  BOOST_CHECK_EQUAL(server_info().eager_region_count, 2u);
  BOOST_CHECK_EQUAL(unprofile_named("named"), 0);
  BOOST_CHECK_EQUAL(server_info().eager_region_count, 1u);
}

BOOST_AUTO_TEST_SUITE_END()
