// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"
#include "interpose.hpp"
#include "user.hpp"

// Users one after the other in a frame that does not know them, as the preload object has them.
using namespace vmsrs::test;
using namespace vmsrs::guest;

namespace {

constexpr std::uint64_t kPollution = 0xbad;
std::uint64_t* const nowhere = reinterpret_cast<std::uint64_t*>(0x123456789000);

[[gnu::noinline]] void fault() { *static_cast<volatile std::uint64_t*>(nowhere) = 1; }

template <typename Body>
bool run_framed(Body body) {
  return run_in_frame([](void* self) { (*static_cast<Body*>(self))(); }, &body);
}

void count(void* counter) { ++*static_cast<int*>(counter); }

void block(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

BOOST_FIXTURE_TEST_SUITE(frames, DefaultServer)

BOOST_AUTO_TEST_CASE(no_user_without_a_frame) {
  BOOST_CHECK(!has_frame());
  BOOST_CHECK_EQUAL(begin_user_in_frame(1, nullptr, nullptr), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(end_user_in_frame(), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
}

BOOST_AUTO_TEST_CASE(users_one_after_the_other) {
  const bool unwound = run_framed([&] {
    BOOST_CHECK_EQUAL(begin_user_in_frame(1, nullptr, nullptr), 0);
    const std::uint64_t first = vmsrs_user_number();
    vmsrs::store(&words()[0], std::uint64_t{100});
    // The next one ends it.
    BOOST_CHECK_EQUAL(begin_user_in_frame(2, nullptr, nullptr), 0);
    BOOST_CHECK(vmsrs_user_number() != first);
    vmsrs::store(&words()[1], std::uint64_t{101});
    BOOST_CHECK_EQUAL(end_user_in_frame(), VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
    BOOST_CHECK_EQUAL(begin_user_in_frame(3, nullptr, nullptr), 0);  // ends with the frame
    vmsrs::store(&words()[2], std::uint64_t{102});
  });
  BOOST_CHECK(!unwound);
  BOOST_CHECK(!has_frame());
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
  for (std::uint64_t i = 0; i < 3; ++i) BOOST_CHECK_EQUAL(words()[i], 100 + i);
}

BOOST_AUTO_TEST_CASE(one_that_runs_on_and_the_next) {
  int crashes = 0;
  const bool unwound = run_framed([&] {
    BOOST_CHECK_EQUAL(begin_user_in_frame(1, count, &crashes), 0);
    vmsrs::store(&words()[0], kPollution);
    fault();
    vmsrs::store(&words()[1], kPollution);
    BOOST_CHECK(vmsrs_user_crashed());
    BOOST_CHECK_EQUAL(end_user_in_frame(), VMSRS_SUPPRESSED);
    BOOST_CHECK(is_pristine());
    BOOST_CHECK_EQUAL(begin_user_in_frame(2, count, &crashes), 0);
    BOOST_CHECK(!vmsrs_user_crashed());
    vmsrs::store(&words()[0], std::uint64_t{100});
    BOOST_CHECK_EQUAL(end_user_in_frame(), VMSRS_FINISHED);
  });
  BOOST_CHECK(!unwound);
  BOOST_CHECK_EQUAL(crashes, 1);
  BOOST_CHECK_EQUAL(words()[0], 100u);
}

BOOST_AUTO_TEST_CASE(one_that_is_taken_to_the_frame) {
  const std::uint64_t blocked = blocked_signals();
  for (int round = 0; round < 3; ++round) {
    int crashes = 0;
    bool went_on = false;
    const bool unwound = run_framed([&] {
      begin_user_in_frame(1, nullptr, nullptr);
      end_user_in_frame();
      begin_user_in_frame(2, count, &crashes);
      vmsrs::store(&words()[0], kPollution);
      block(SIGUSR1);
      std::abort();
      went_on = true;
    });
    BOOST_CHECK(unwound);
    BOOST_CHECK(!went_on);
    BOOST_CHECK_EQUAL(crashes, 1);
    BOOST_CHECK(!has_frame());
    BOOST_CHECK(is_pristine());
    BOOST_CHECK_EQUAL(blocked_signals(), blocked);
  }
}

BOOST_AUTO_TEST_CASE(signals_are_open_for_a_user_only) {
  const std::uint64_t before = blocked_signals();
  block(SIGSEGV);
  run_framed([&] {
    begin_user_in_frame(1, nullptr, nullptr);
    fault();  // blocked, it would end the process
    BOOST_CHECK_EQUAL(end_user_in_frame(), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(blocked_signals(), before | 1ull << SIGSEGV);
  });
  sigset_t open;
  sigemptyset(&open);
  sigaddset(&open, SIGSEGV);
  pthread_sigmask(SIG_UNBLOCK, &open, nullptr);
}

BOOST_AUTO_TEST_CASE(a_frame_within_a_frame) {
  const bool unwound = run_framed([&] {
    begin_user_in_frame(1, nullptr, nullptr);
    BOOST_CHECK(!run_framed([&] { vmsrs::store(&words()[0], kPollution); }));
    BOOST_CHECK(vmsrs_user_number() != 0);
    run_framed([&] { std::abort(); });  // to the outer one
    BOOST_ERROR("its body went on");
  });
  BOOST_CHECK(unwound);
  BOOST_CHECK(is_pristine());
}

// A body that is left by longjmp() says nothing. The next frame of the thread ends what it has
// left.
jmp_buf out;
BOOST_AUTO_TEST_CASE(a_frame_that_was_left) {
  if (setjmp(out) == 0)
    run_framed([&] {
      begin_user_in_frame(1, nullptr, nullptr);
      vmsrs::store(&words()[0], std::uint64_t{100});
      longjmp(out, 1);
    });
  BOOST_CHECK(run_framed([&] {
    begin_user_in_frame(2, nullptr, nullptr);
    vmsrs::store(&words()[1], kPollution);
    std::abort();
  }));
  BOOST_CHECK_EQUAL(words()[0], 100u);
  BOOST_CHECK_EQUAL(words()[1], 2u);
}

#ifndef VMSRS_SANITIZED
BOOST_AUTO_TEST_CASE(locks_of_one_that_is_taken_to_the_frame) {
  static pthread_mutex_t former = PTHREAD_MUTEX_INITIALIZER, own = PTHREAD_MUTEX_INITIALIZER;
  run_framed([&] {
    pthread_mutex_lock(&former);  // nobody's: it stays
    begin_user_in_frame(1, nullptr, nullptr);
    pthread_mutex_lock(&own);
    std::abort();
  });
  BOOST_CHECK_EQUAL(pthread_mutex_trylock(&former), EBUSY);
  BOOST_CHECK_EQUAL(pthread_mutex_trylock(&own), 0);
  pthread_mutex_unlock(&own);
  pthread_mutex_unlock(&former);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
