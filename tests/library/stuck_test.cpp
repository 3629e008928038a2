// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// A thread that is held in the middle of a store; and users that have read from one that crashed.
using namespace vmsrs::test;

namespace {

// Of a thread that is interrupted within a store, by a signal that comes again and again.
struct Hold {
  std::atomic<bool> wanted{false}, held{false}, over{false};
};
Hold* hold;

void hold_here(int) {
  const vmsrs_user_area* const area = vmsrs_fast_thread.area;
  if (!hold->wanted || area == nullptr || __atomic_load_n(&area->window, __ATOMIC_RELAXED) != 1)
    return;
  hold->held = true;
  while (!hold->over) asm volatile("pause");
  hold->wanted = false;
}

struct ImpatientServer : AttachedServer {
  ImpatientServer() : AttachedServer(0, 300'000, false, 50, 1) {}
};

bool every_store_is_a_call() { return std::getenv("VMSRS_TEST_TRAPPING") != nullptr; }

// A user that stores until it is crashed, and is interrupted within a store.
template <std::uint32_t limit_ms>
struct HoldingServer : AttachedServer {
  HoldingServer() : AttachedServer(0, limit_ms, false, 50, 1) {
    hold = &here;
    struct sigaction action {};
    action.sa_handler = hold_here;
    sigaction(SIGUSR1, &action, &before_);
  }
  ~HoldingServer() {
    sigaction(SIGUSR1, &before_, nullptr);
    hold = nullptr;
  }
  void hold_one(const std::function<void()>& afterwards = [] {}) {
    std::atomic<bool> started{false};
    suspect = std::thread([&, afterwards] {
      outcome = run([&] {
        number = vmsrs_user_number();
        for (std::uint64_t i = 0; !vmsrs_user_crashed(); ++i) {
          started = i >= 64;  // all are its own, so whoever stores there meets it
          vmsrs::store(&words()[i % 64], 666 + i);
        }
        afterwards();
      });
      ended = true;
    });
    while (!started) std::this_thread::yield();
    here.wanted = true;
    while (!here.held) {
      pthread_kill(suspect.native_handle(), SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  int store_to_all() {
    return run([&] {
      for (unsigned i = 0; i < 64 && !vmsrs_user_crashed(); ++i)
        vmsrs::store(&words()[i], std::uint64_t{i + 1});
    });
  }

  Hold here;
  std::thread suspect;
  std::uint64_t number = 0;
  int outcome = -1;
  std::atomic<bool> ended{false};

 private:
  struct sigaction before_ {};
};

void* crash_here(void* at) {
  *static_cast<volatile std::uint64_t*>(at) = 1;
  return nullptr;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stuck)

BOOST_FIXTURE_TEST_CASE(a_thread_that_does_not_come_out_of_a_store, HoldingServer<300'000>) {
  if (every_store_is_a_call()) return;  // there no store is under way outside of a call
  std::atomic<bool> came_out{false}, go{false};
  hold_one([&] {
    came_out = true;
    while (!go) std::this_thread::yield();
  });

  // A store to what it owns does not wait for ever. Nothing of it counts.
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[100], std::uint64_t{5});
                      for (unsigned i = 0; i < 64 && !vmsrs_user_crashed(); ++i)
                        vmsrs::store(&words()[i], std::uint64_t{5});
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(server_info().stuck_users, 1u);
  for (unsigned i = 0; i < 101; ++i) BOOST_CHECK_EQUAL(vmsrs::load(&words()[i]), i + 1);
  // Elsewhere all goes on.
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[100], std::uint64_t{101}); }), VMSRS_FINISHED);

  // Whoever stores there next sees that it has come out, before it says so itself.
  here.over = true;
  while (!came_out) std::this_thread::yield();
  BOOST_CHECK_EQUAL(store_to_all(), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(server_info().stuck_users, 0u);
  go = true;
  suspect.join();
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(is_pristine());
  BOOST_CHECK_EQUAL(store_to_all(), VMSRS_FINISHED);
}

BOOST_FIXTURE_TEST_CASE(it_is_declared_crashed, HoldingServer<300'000>) {
  if (every_store_is_a_call()) return;
  hold_one();
  BOOST_CHECK_EQUAL(vmsrs_user_suppress(number), 0);
  BOOST_CHECK_EQUAL(server_info().stuck_users, 1u);
  BOOST_CHECK_EQUAL(store_to_all(), VMSRS_SUPPRESSED);
  here.over = true;
  suspect.join();
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(server_info().stuck_users, 0u);
  BOOST_CHECK(is_pristine());
}

// It never comes out by itself.
BOOST_FIXTURE_TEST_CASE(its_time_is_bounded, HoldingServer<100>) {
  if (every_store_is_a_call()) return;
  hold_one();
  BOOST_CHECK_EQUAL(store_to_all(), VMSRS_SUPPRESSED);
  for (unsigned i = 0; i < 10'000 && !ended; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  BOOST_CHECK(ended);
  here.over = true;
  suspect.join();
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(server_info().stuck_users, 0u);
  BOOST_CHECK(is_pristine());
}

// Each user is sampled.
BOOST_FIXTURE_TEST_CASE(exposed_reads, ImpatientServer) {
  const std::uint64_t seen = server_info().exposed_user_count;
  BOOST_CHECK_EQUAL(vmsrs_exposed(), VMSRS_ERROR_STATE);
  for (const bool reads : {false, true}) {
    std::atomic<bool> stored{false}, go{false};
    std::thread writer([&] {
      BOOST_CHECK_EQUAL(run([&] {
                          vmsrs::store(&words()[7], std::uint64_t{666});
                          stored = true;
                          while (!go) std::this_thread::yield();
                          crash_here(wild());
                        }),
                        VMSRS_SUPPRESSED);
    });
    while (!stored) std::this_thread::yield();
    BOOST_CHECK_EQUAL(run([&] {
                        BOOST_CHECK_EQUAL(vmsrs::load(&words()[reads ? 7 : 6]), reads ? 666u : 7u);
                        BOOST_CHECK_EQUAL(vmsrs_exposed(), 0);
                        go = true;
                        writer.join();
                        BOOST_CHECK_EQUAL(vmsrs_exposed(), reads ? 1 : 0);
                        BOOST_CHECK_EQUAL(vmsrs::load(&words()[7]), 8u);
                      }),
                      VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(run([] { BOOST_CHECK_EQUAL(vmsrs_exposed(), 0); }), VMSRS_FINISHED);
  }
  BOOST_CHECK_EQUAL(server_info().exposed_user_count, seen + 1);
}

// With the default nobody is.
BOOST_FIXTURE_TEST_CASE(without_sampling_nothing_is_seen_of_loads, DefaultServer) {
  std::thread writer;
  std::atomic<bool> stored{false}, go{false};
  writer = std::thread([&] {
    run([&] {
      vmsrs::store(&words()[7], std::uint64_t{666});
      stored = true;
      while (!go) std::this_thread::yield();
      crash_here(wild());
    });
  });
  while (!stored) std::this_thread::yield();
  BOOST_CHECK_EQUAL(run([&] {
                      (void)vmsrs::load(&words()[0]);
                      const std::uint64_t calls = seam.call_count;
                      BOOST_CHECK_EQUAL(vmsrs::load(&words()[7]), 666u);
                      BOOST_CHECK_EQUAL(vmsrs_exposed(), 0);
                      BOOST_CHECK_EQUAL(seam.call_count, calls);
                      go = true;
                      writer.join();
                      BOOST_CHECK_EQUAL(vmsrs_exposed(), 0);
                    }),
                    VMSRS_FINISHED);
}

BOOST_AUTO_TEST_SUITE_END()
