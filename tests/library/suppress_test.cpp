// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Users that somebody else declares crashed: another thread of the server, or an operator.
using namespace vmsrs::test;

namespace {

struct StrictServer : AttachedServer {
  StrictServer() : AttachedServer(20, 300) {}
};

void wait_until(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::yield();
}

// A thread within a user that has stored 666 to word 0, and what came of it.
class Suspect {
 public:
  // `body` runs in the user once it has stored.
  template <typename Body>
  Suspect(std::uint64_t* word, Body body)
      : thread_([this, word, body] {
          outcome_ = run(
              [&] {
                vmsrs::store(word, std::uint64_t{666});
                number_ = vmsrs_user_number();
                body();
              },
              [](void* told) { ++*static_cast<std::atomic<int>*>(told); }, &told_);
        }) {
    while (number_ == 0) std::this_thread::yield();
  }
  std::uint64_t number() const { return number_; }
  // Joins.
  int outcome() {
    thread_.join();
    return outcome_;
  }
  int told() const { return told_; }

 private:
  std::atomic<std::uint64_t> number_{0};
  std::atomic<int> told_{0};
  int outcome_ = -1;
  std::thread thread_;  // last: it uses the others
};

}  // namespace

BOOST_AUTO_TEST_SUITE(suppress)

// The thread hears of nothing: others read the right value at once all the same, and it is taken to
// its end when its time is over.
BOOST_FIXTURE_TEST_CASE(a_thread_stuck_in_a_loop, StrictServer) {
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_CHECK];
  Suspect suspect(&words()[0], [] {
    for (;;) asm volatile("pause");
  });
  BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 666u);
  BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), 0);
  BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u);
  BOOST_CHECK_EQUAL(suspect.told(), 0);
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[0], std::uint64_t{5}); }), VMSRS_FINISHED);
  for (int again = 0; again < 10; ++again)  // nothing changes
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), 0);
  BOOST_CHECK_EQUAL(suspect.outcome(), VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(suspect.told(), 1);
  BOOST_CHECK_EQUAL(words()[0], 5u);
  BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), VMSRS_ERROR_ARGUMENT);  // too late
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_CHECK], before + 1);
}

// By an operator: the service thread sees to it.
BOOST_FIXTURE_TEST_CASE(an_operator_and_a_thread_stuck_in_a_loop, StrictServer) {
  const std::uint64_t before = server_info().faults[VMSRS_FAULT_OPERATOR];
  Suspect suspect(&words()[0], [] {
    for (;;) asm volatile("pause");
  });
  suppress_as_operator(suspect.number());
  BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u);
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[0], std::uint64_t{5}); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(suspect.outcome(), VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(suspect.told(), 1);
  BOOST_CHECK_EQUAL(words()[0], 5u);
  BOOST_CHECK_EQUAL(server_info().faults[VMSRS_FAULT_OPERATOR], before + 1);
}

BOOST_FIXTURE_TEST_CASE(its_thread_hears_at_its_next_access, DefaultServer) {
  for (const bool stores : {true, false}) {
    std::atomic<bool> go{false};
    std::atomic<int> told_after{-1};
    Suspect* self = nullptr;
    Suspect suspect(&words()[0], [&] {
      wait_until(go);
      if (stores)
        vmsrs::store(&words()[1], std::uint64_t{666});
      else
        (void)vmsrs::load(&words()[1]);
      told_after = self->told();
      BOOST_CHECK(vmsrs_user_crashed());
      vmsrs::store(&words()[2], std::uint64_t{666});
      *static_cast<volatile std::uint64_t*>(wild()) = 1;  // a fault more
    });
    self = &suspect;
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), 0);
    go = true;
    BOOST_CHECK_EQUAL(suspect.outcome(), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(told_after, 1);
    BOOST_CHECK_EQUAL(suspect.told(), 1);
    BOOST_CHECK(is_pristine());
  }
}

// What it hears of first is its own fault, or the end of its scope, or a scope that it opens.
BOOST_FIXTURE_TEST_CASE(its_thread_hears_elsewhere, DefaultServer) {
  for (int where = 0; where < 4; ++where) {
    std::atomic<bool> go{false};
    Suspect suspect(&words()[0], [&] {
      const auto elsewhere = [&] {
        wait_until(go);
        if (where == 1) *static_cast<volatile std::uint64_t*>(wild()) = 1;
        if (where == 2) BOOST_CHECK_EQUAL(run([] {}), VMSRS_SUPPRESSED);
      };
      if (where == 3)
        BOOST_CHECK_EQUAL(run([&] { run(elsewhere); }), VMSRS_SUPPRESSED);
      else
        elsewhere();
      if (where > 0) vmsrs::store(&words()[1], std::uint64_t{666});
    });
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), 0);
    go = true;
    BOOST_CHECK_EQUAL(suspect.outcome(), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(suspect.told(), 1);
    BOOST_CHECK(is_pristine());
  }
}

BOOST_FIXTURE_TEST_CASE(a_range_is_not_stored_half, DefaultServer) {
  for (int round = 0; round < 20; ++round) {
    Suspect suspect(&words()[0], [&] {
      while (!vmsrs_user_crashed()) vmsrs_fill_range(&words()[8], 0x66, 4096);
    });
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(suspect.number()), 0);
    for (unsigned i = 8; i < 8 + 4096 / 8; ++i)
      BOOST_REQUIRE_EQUAL(vmsrs::load(&words()[i]), i + 1);
    BOOST_CHECK_EQUAL(suspect.outcome(), VMSRS_SUPPRESSED);
  }
  BOOST_CHECK(is_pristine());
}

// Each user has a number of its own, also where it is the next one of the same thread.
BOOST_FIXTURE_TEST_CASE(numbers, DefaultServer) {
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
  BOOST_CHECK_EQUAL(vmsrs_user_suppress(0), VMSRS_ERROR_ARGUMENT);
  std::uint64_t last = 0;
  for (unsigned i = 0; i < 3; ++i) {
    BOOST_CHECK_EQUAL(run([&] {
                        const std::uint64_t mine = vmsrs_user_number();
                        BOOST_CHECK_NE(mine, 0u);
                        BOOST_CHECK_NE(mine, last);
                        run([&] { BOOST_CHECK_EQUAL(vmsrs_user_number(), mine); });
                        last = mine;
                      }),
                      VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(last), VMSRS_ERROR_ARGUMENT);
  }
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[0], std::uint64_t{666});
                      BOOST_CHECK_EQUAL(vmsrs_user_suppress(vmsrs_user_number()), 0);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(is_pristine());
}

// The user that a thread was given in advance; then the thread ends.
BOOST_FIXTURE_TEST_CASE(between_two_scopes, DefaultServer) {
  for (const bool again : {true, false})
    std::thread([&] {
      std::uint64_t number = 0;
      BOOST_CHECK_EQUAL(run([&] {
                          number = vmsrs_user_number();
                          vmsrs::store(&words()[0], std::uint64_t{1});
                        }),
                        VMSRS_FINISHED);
      constexpr std::uint64_t kNext = 1 << 10;
      const int known = vmsrs_user_suppress(number + kNext);
      if (again)
        BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[0], std::uint64_t{1}); }),
                          VMSRS_FINISHED);
      // Where every store is a call, nobody is given a user in advance.
      BOOST_CHECK(known == 0 || known == VMSRS_ERROR_ARGUMENT);
    }).join();
  BOOST_CHECK_EQUAL(server_info().crashed_users, 0u);
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_SUITE_END()
