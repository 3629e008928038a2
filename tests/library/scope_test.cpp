// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <time.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// User scopes: commit, nesting, bounds, the two-call form, many threads.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

double seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct StrictServer : AttachedServer {
  StrictServer() : AttachedServer(20, 300) {}
};

struct Unattached {};

struct Mask {
  Mask() { pthread_sigmask(SIG_SETMASK, nullptr, &set); }
  bool operator==(const Mask& other) const {
    for (int signal = 1; signal <= SIGRTMAX; ++signal)
      if (sigismember(&set, signal) != sigismember(&other.set, signal)) return false;
    return true;
  }
  sigset_t set;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(scope, DefaultServer)

BOOST_AUTO_TEST_CASE(finish_commits) {
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[5], std::uint64_t{500}); }), VMSRS_FINISHED);
  // Another user's crash over it brings the committed value back.
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[5], std::uint64_t{666});
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[5], 500u);
}

// As many as a MiB has in granules of 64 bytes: none is stored to by a call, whether its user
// finishes or crashes. (Where every store is one this says nothing of calls.)
BOOST_AUTO_TEST_CASE(a_user_of_very_many_granules) {
  constexpr std::size_t kMany = 16'384;
  static_assert(kMany <= AttachedServer::word_count());
  const bool claims = std::getenv("VMSRS_TEST_TRAPPING") == nullptr;
  const std::uint64_t before = server_info().store_count;
  const auto store_many = [&](std::uint64_t value) {
    for (std::size_t i = 0; i < kMany; ++i) vmsrs::store(&words()[i], value + i);
  };
  BOOST_CHECK_EQUAL(run([&] { store_many(7000); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(run([&] {
                      store_many(9000);
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  if (claims) BOOST_CHECK_EQUAL(server_info().store_count, before);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < kMany; ++i) wrong += vmsrs::load(&words()[i]) != 7000 + i;
  BOOST_CHECK_EQUAL(wrong, 0u);
}

BOOST_AUTO_TEST_CASE(stores_outside_a_scope_are_users_of_their_own) {
  vmsrs::store(&words()[6], std::uint64_t{600});
  vmsrs_fill_range(&words()[8], 0x11, 16);
  BOOST_CHECK_EQUAL(words()[6], 600u);
  BOOST_CHECK_EQUAL(words()[9], 0x1111'1111'1111'1111u);
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[6], std::uint64_t{1});
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[6], 600u);
}

BOOST_AUTO_TEST_CASE(normal_store_over_a_crashed_one_is_clean) {
  run([&] {
    vmsrs::store(&words()[5], std::uint64_t{666});
    fault(wild());
    std::thread([&] {
      BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[5], std::uint64_t{55}); }), VMSRS_FINISHED);
    }).join();
  });
  BOOST_CHECK_EQUAL(words()[5], 55u);
}

BOOST_AUTO_TEST_CASE(nested_scopes_are_one_user) {
  int outer_calls = 0, inner_calls = 0, late_calls = 0;
  const auto count = [](void* calls) { ++*static_cast<int*>(calls); };
  const int outcome = run(
      [&] {
        vmsrs::store(&words()[0], std::uint64_t{7});
        BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[1], std::uint64_t{7}); }),
                          VMSRS_FINISHED);
        const int inner = run([&] { fault(wild()); }, count, &inner_calls);
        BOOST_CHECK_EQUAL(inner, VMSRS_SUPPRESSED);
        BOOST_CHECK(vmsrs_user_crashed());
        BOOST_CHECK_EQUAL(run([] {}, count, &late_calls), VMSRS_SUPPRESSED);
      },
      count, &outer_calls);
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(outer_calls, 1);
  BOOST_CHECK_EQUAL(inner_calls, 1);
  BOOST_CHECK_EQUAL(late_calls, 0);
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_CASE(unwinding_leaves_all_nested_scopes) {
  int late_calls = 0;
  const int outcome = run([&] {
    run([&] {
      fault(wild());
      run([] { asm volatile("ud2"); }, [](void* calls) { ++*static_cast<int*>(calls); },
          &late_calls);
      BOOST_ERROR("the inner scopes must not be gone on with");
    });
    BOOST_ERROR("nor the outer one");
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  // Opened after the crash, it was told when it was left by force.
  BOOST_CHECK_EQUAL(late_calls, 1);
  BOOST_CHECK_EQUAL(run([] {}), VMSRS_FINISHED);
}

BOOST_AUTO_TEST_CASE(two_calls) {
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  vmsrs::store(&words()[2], std::uint64_t{22});
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(words()[2], 22u);
  BOOST_CHECK_EQUAL(vmsrs_user_begin(2), 0);
  vmsrs::store(&words()[2], std::uint64_t{23});
  fault(wild());
  BOOST_CHECK(vmsrs_user_crashed());
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[2], 22u);
}

BOOST_AUTO_TEST_CASE(misuse) {
  BOOST_CHECK_EQUAL(vmsrs_run_user(1, nullptr, nullptr, nullptr, nullptr), VMSRS_ERROR_ARGUMENT);
  run([] { BOOST_CHECK_EQUAL(vmsrs_detach(), VMSRS_ERROR_STATE); });
  BOOST_CHECK_EQUAL(profile(words(), kRegionBytes, 8), VMSRS_ERROR_ARGUMENT);  // overlaps
  BOOST_CHECK_EQUAL(profile(words(), 100, 8), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(profile(words(), 64, 9), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(profile(wild(), 4096, 8), VMSRS_ERROR_ARGUMENT);  // not writable
}

BOOST_AUTO_TEST_CASE(blocked_signals_are_open_within_a_scope_and_blocked_after_it) {
  sigset_t blocked, former, after;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGSEGV);
  sigaddset(&blocked, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &blocked, &former);
  BOOST_CHECK_EQUAL(run([&] { fault(wild()); }), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(run([] { asm volatile("ud2"); }), VMSRS_UNWOUND);
  pthread_sigmask(SIG_SETMASK, &former, &after);
  BOOST_CHECK_EQUAL(sigismember(&after, SIGSEGV), 1);
  BOOST_CHECK_EQUAL(sigismember(&after, SIGUSR2), 1);
  BOOST_CHECK_EQUAL(sigismember(&after, SIGUSR1), 0);
}

// Users on several threads, some of which crash, over the same words; at the end the words hold
// what the finished ones wrote.
BOOST_AUTO_TEST_CASE(many_threads) {
  constexpr unsigned kThreads = 6, kRounds = 60;
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      // Each thread owns a word; its users raise it by one, or crash half-way.
      std::uint64_t* const mine = &words()[t * 3];
      std::uint64_t expected = vmsrs::load(mine);
      for (unsigned round = 0; round < kRounds; ++round) {
        const bool crash = (round + t) % 3 == 0;
        const int outcome = run([&] {
          vmsrs::store(mine, expected + 1);
          if (crash) fault(wild());
          vmsrs::store(mine + 1, expected + 1);
        });
        if (outcome != (crash ? VMSRS_SUPPRESSED : VMSRS_FINISHED)) ++wrong;
        if (!crash) ++expected;
        if (vmsrs::load(mine) != expected) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_CHECK_EQUAL(wrong.load(), 0u);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {
struct StayingMask : AttachedServer {
  StayingMask() : AttachedServer(0, 300'000, true) {}
};
}  // namespace

BOOST_FIXTURE_TEST_SUITE(staying_mask, StayingMask)

// The mask is looked at in a thread's first scope, and left open; unwinding leaves it as it was
// there.
BOOST_AUTO_TEST_CASE(signal_mask_that_stays) {
  std::thread([&] {
    sigset_t blocked, after;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGSEGV);
    sigaddset(&blocked, SIGILL);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    for (unsigned i = 0; i < 3; ++i) {
      BOOST_CHECK_EQUAL(run([&] { fault(wild()); }), VMSRS_SUPPRESSED);
      BOOST_CHECK_EQUAL(run([] { asm volatile("ud2"); }), VMSRS_UNWOUND);
    }
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    BOOST_CHECK_EQUAL(sigismember(&after, SIGSEGV), 0);
    BOOST_CHECK_EQUAL(sigismember(&after, SIGILL), 0);
  }).join();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(bounds, StrictServer)

BOOST_AUTO_TEST_CASE(too_many_faults) {
  const Mask mask;
  volatile int faults = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      for (;;) {
                        faults = faults + 1;
                        fault(wild());
                      }
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(faults, 20);
  BOOST_CHECK(Mask() == mask);
}

BOOST_AUTO_TEST_CASE(endless_loop) {
  const Mask mask;
  const double begin = seconds_now();
  int released = 0;
  const int outcome = run(
      [&] {
        vmsrs::store(&words()[0], std::uint64_t{99});
        fault(wild());
        for (;;) asm volatile("pause");
      },
      [](void* flag) { *static_cast<int*>(flag) += 1; }, &released);
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  const double took = seconds_now() - begin;
  BOOST_CHECK_GE(took, 0.29);
  BOOST_CHECK_LE(took, 5.0);
  BOOST_CHECK_EQUAL(released, 1);
  BOOST_CHECK(is_pristine());
  BOOST_CHECK(Mask() == mask);
  // A second one on the same thread: the mask and the stack are as before.
  BOOST_CHECK_EQUAL(run([&] {
                      fault(wild());
                      for (;;) vmsrs::store(&words()[0], std::uint64_t{98});
                    }),
                    VMSRS_UNWOUND);
}

BOOST_AUTO_TEST_CASE(blocked_in_a_system_call) {
  BOOST_CHECK_EQUAL(run([&] {
                      fault(wild());
                      for (;;) {
                        const timespec hour = {3600, 0};
                        nanosleep(&hour, nullptr);
                      }
                    }),
                    VMSRS_UNWOUND);
}

BOOST_AUTO_TEST_CASE(time_bound_is_over_with_its_user) {
  BOOST_CHECK_EQUAL(run([&] { fault(wild()); }), VMSRS_SUPPRESSED);
  // A user that has not crashed may take as long as it likes.
  const int outcome = run([] {
    const timespec pause = {0, 600'000'000};
    timespec left = pause;
    while (nanosleep(&left, &left) != 0) {
    }
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_FINISHED);
}

// The time of a user that somebody else declared crashed is over when its server has detached.
BOOST_FIXTURE_TEST_CASE(over_after_detach, Unattached) {
  {
    StrictServer server;
    std::atomic<std::uint64_t> number{0};
    std::thread watchdog([&] {
      while (number == 0) std::this_thread::yield();
      vmsrs_user_suppress(number);
    });
    BOOST_CHECK_EQUAL(run([&] {
                        number = vmsrs_user_number();
                        while (!vmsrs_user_crashed()) std::this_thread::yield();
                      }),
                      VMSRS_SUPPRESSED);
    watchdog.join();
  }
  const double begin = seconds_now();
  while (seconds_now() - begin < 0.4) usleep(10'000);  // by then a signal would have ended us
  const StrictServer again;
}

BOOST_AUTO_TEST_SUITE_END()
