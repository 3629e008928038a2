// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// A program that gives itself up in a user's scope gives up that user: abort() and all that ends in
// it, and what leaves a scope by other ways than its end.
#undef NDEBUG
#include <cassert>

using namespace vmsrs::test;

namespace {

constexpr std::uint64_t kPollution = 0xbad;

std::uint64_t aborts() { return server_info().faults[VMSRS_FAULT_ABORT]; }

// A user stores and gives up: nothing of it counts, and the thread can go on.
template <typename End>
void check_contained(AttachedServer& server, int expected, End end) {
  const std::uint64_t before = aborts();
  bool went_on = false;
  int crash_calls = 0;
  const int outcome = run(
      [&] {
        vmsrs::store(&server.words()[0], kPollution);
        end();
        went_on = true;
      },
      [](void* count) { ++*static_cast<int*>(count); }, &crash_calls);
  BOOST_CHECK_EQUAL(outcome, expected);
  BOOST_CHECK(!went_on);
  BOOST_CHECK_EQUAL(crash_calls, 1);
  BOOST_CHECK_EQUAL(aborts() - before, 1u);
  BOOST_CHECK(server.is_pristine());
  BOOST_CHECK_EQUAL(std::uncaught_exceptions(), 0);
  BOOST_CHECK(std::current_exception() == nullptr);
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&server.words()[3], std::uint64_t{4}); }),
                    VMSRS_FINISHED);
}

[[gnu::noinline]] void throws(int value) {
  if (value != 0) throw std::runtime_error("thrown by a user");
}
void throws_where_it_must_not() noexcept { throws(1); }

struct ThrowsWhileUnwinding {
  ~ThrowsWhileUnwinding() noexcept(false) { throws(1); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(aborting, DefaultServer)

BOOST_AUTO_TEST_CASE(abort_is_contained) {
  for (int again = 0; again < 3; ++again)
    check_contained(*this, VMSRS_UNWOUND, [] { std::abort(); });
  check_contained(*this, VMSRS_UNWOUND, [] { raise(SIGABRT); });
}

BOOST_AUTO_TEST_CASE(failed_assert_is_contained) {
  check_contained(*this, VMSRS_UNWOUND, [] {
    volatile int customers = 0;
    assert(customers > 0);
  });
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process before libc sees it
BOOST_AUTO_TEST_CASE(corruption_that_libc_finds_is_contained) {
  check_contained(*this, VMSRS_UNWOUND, [] {
    void* volatile block = std::malloc(24);
    std::free(block);
    std::free(block);  // found before malloc takes a lock
  });
}
#endif

BOOST_AUTO_TEST_CASE(terminate_is_contained) {
  check_contained(*this, VMSRS_UNWOUND, [] { std::terminate(); });
  check_contained(*this, VMSRS_UNWOUND, [] { throws_where_it_must_not(); });
  check_contained(*this, VMSRS_UNWOUND, [] {
    try {
      ThrowsWhileUnwinding second;
      throws(1);
    } catch (const std::logic_error&) {
    }
  });
}

// The scope in a frame that catches: the exception ends the user, and goes on.
BOOST_AUTO_TEST_CASE(exception_through_a_scope_of_c) {
  const std::uint64_t before = aborts();
  const auto body = [](void* words) {
    vmsrs::store(static_cast<std::uint64_t*>(words), kPollution);
    throws(1);
  };
  BOOST_CHECK_THROW(vmsrs_run_user(1, body, words(), nullptr, nullptr), std::runtime_error);
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
  BOOST_CHECK_EQUAL(aborts() - before, 1u);
  BOOST_CHECK(is_pristine());
  // An inner scope is part of the outer user.
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_THROW(vmsrs_run_user(1, body, words(), nullptr, nullptr),
                                        std::runtime_error);
                      BOOST_CHECK(vmsrs_user_crashed());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(is_pristine());
}

// Of the C++ interface: the scope catches it.
BOOST_AUTO_TEST_CASE(exception_through_a_scope_of_cpp) {
  const std::uint64_t before = aborts();
  bool told = false, destroyed = false;
  struct Guard {
    bool& flag;
    ~Guard() { flag = true; }
  };
  const int outcome = vmsrs::run_user(
      1,
      [&] {
        const Guard guard{destroyed};
        vmsrs::store(words(), kPollution);
        throws(1);
      },
      [&] { told = true; });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(told);
  BOOST_CHECK(destroyed);
  BOOST_CHECK_EQUAL(aborts() - before, 1u);
  BOOST_CHECK(is_pristine());
  // One that is caught within is nobody's crash.
  BOOST_CHECK_EQUAL(vmsrs::run_user(
                        1,
                        [] {
                          try {
                            throws(1);
                          } catch (const std::runtime_error&) {
                          }
                        },
                        [] {}),
                    VMSRS_FINISHED);
}

BOOST_AUTO_TEST_CASE(thread_that_ends_in_its_scope) {
  const std::uint64_t before = aborts();
  for (const bool by_exit : {true, false}) {
    struct Job {
      std::uint64_t* words;
      bool by_exit;
    } job = {words(), by_exit};
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* p) -> void* {
          const Job& mine = *static_cast<Job*>(p);
          vmsrs::run_user(
              1,
              [&] {
                vmsrs::store(mine.words, kPollution);
                if (mine.by_exit) pthread_exit(nullptr);
                pthread_cancel(pthread_self());
                pthread_testcancel();
              },
              [] {});
          return p;
        },
        &job);
    void* result = &job;
    pthread_join(thread, &result);
    BOOST_CHECK(result == (by_exit ? nullptr : PTHREAD_CANCELED));
    BOOST_CHECK(is_pristine());
    BOOST_CHECK_EQUAL(server_info().crashed_users, 0u);
  }
  BOOST_CHECK_EQUAL(aborts() - before, 2u);
}

BOOST_AUTO_TEST_CASE(many_threads_at_a_time) {
  constexpr unsigned kThreads = 4, kTimes = 5;
  std::atomic<unsigned> unwound{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      for (unsigned k = 0; k < kTimes; ++k)
        unwound += run([&] {
                     vmsrs::store(&words()[i * 16], kPollution);
                     std::abort();
                   }) == VMSRS_UNWOUND;
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_CHECK_EQUAL(unwound, kThreads * kTimes);
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_SUITE_END()
