// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Users that go on in another thread: what an event-driven server does with a request.
using namespace vmsrs::test;

namespace {

// One piece of a user's work, after which it is suspended.
template <typename Body>
int run_piece(std::uint64_t& number, Body body) {
  return run([&] {
    body();
    number = vmsrs_user_number();
    BOOST_CHECK_EQUAL(vmsrs_user_suspend(), 0);
  });
}
template <typename Body>
int resume(std::uint64_t number, Body body, void (*on_crash)(void*) = nullptr,
           void* argument = nullptr) {
  return vmsrs_run_resumed(
      number, [](void* p) { (*static_cast<Body*>(p))(); }, &body, on_crash, argument);
}
template <typename Body>
void in_another_thread(Body body) {
  std::thread(body).join();
}
void count(void* counter) { ++*static_cast<std::atomic<int>*>(counter); }

}  // namespace

BOOST_AUTO_TEST_SUITE(suspended)

BOOST_FIXTURE_TEST_CASE(finished_by_another_thread, DefaultServer) {
  std::uint64_t number = 0;
  std::atomic<int> effects{0};
  BOOST_CHECK_EQUAL(run_piece(number,
                              [&] {
                                vmsrs::store(&words()[0], std::uint64_t{100});
                                BOOST_CHECK_EQUAL(vmsrs_defer(count, &effects), 0);
                                BOOST_CHECK_EQUAL(vmsrs_user_label("piecework", 9), 0);
                              }),
                    VMSRS_SUSPENDED);
  BOOST_CHECK_EQUAL(effects.load(), 0);
  BOOST_CHECK_EQUAL(vmsrs_user_number(), 0u);
  // Its thread has other users meanwhile, and they see what it has not finished.
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_NE(vmsrs_user_number(), number);
                      vmsrs::store(&words()[64], vmsrs::load(&words()[0]) + 1);
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(server_info().active_users, 1u);
  in_another_thread([&] {
    BOOST_CHECK_EQUAL(resume(number,
                             [&] {
                               BOOST_CHECK_EQUAL(vmsrs_user_number(), number);
                               vmsrs::store(&words()[0], vmsrs::load(&words()[0]) + 1);
                               vmsrs::store(&words()[128], std::uint64_t{102});
                             }),
                      VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(effects.load(), 1);
  });
  BOOST_CHECK_EQUAL(words()[0], 101u);
  BOOST_CHECK_EQUAL(words()[64], 101u);
  BOOST_CHECK_EQUAL(words()[128], 102u);
  BOOST_CHECK_EQUAL(resume(number, [] {}), VMSRS_ERROR_ARGUMENT);
}

BOOST_FIXTURE_TEST_CASE(all_pieces_are_taken_back, DefaultServer) {
  std::uint64_t number = 0;
  std::atomic<int> effects{0}, collected{0}, told{0};
  run_piece(number, [&] {
    vmsrs::store(&words()[0], std::uint64_t{666});
    vmsrs_defer(count, &effects);
    vmsrs_on_collected(count, &collected);
    vmsrs_user_label("piecework", 9);
  });
  in_another_thread([&] {
    const int outcome = resume(
        number,
        [&] {
          vmsrs::store(&words()[1], std::uint64_t{666});
          *static_cast<volatile std::uint64_t*>(wild()) = 1;
          vmsrs::store(&words()[2], std::uint64_t{666});
          BOOST_CHECK_EQUAL(vmsrs_user_suspend(), 0);  // it ends all the same
          BOOST_CHECK_EQUAL(label_seen(number), "piecework");
        },
        count, &told);
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  });
  BOOST_CHECK_EQUAL(told.load(), 1);
  BOOST_CHECK_EQUAL(effects.load(), 0);
  BOOST_CHECK_EQUAL(collected.load(), 1);
  BOOST_CHECK(is_pristine());
  BOOST_CHECK_EQUAL(resume(number, [] {}), VMSRS_ERROR_ARGUMENT);
}

BOOST_FIXTURE_TEST_CASE(crashed_before_it_would_be_suspended, DefaultServer) {
  std::uint64_t number = 0;
  BOOST_CHECK_EQUAL(run_piece(number,
                              [&] {
                                vmsrs::store(&words()[0], std::uint64_t{666});
                                *static_cast<volatile std::uint64_t*>(wild()) = 1;
                              }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(is_pristine());
}

BOOST_FIXTURE_TEST_CASE(declared_crashed_meanwhile, DefaultServer) {
  for (const bool by_operator : {false, true}) {
    std::uint64_t number = 0;
    std::atomic<int> told{0};
    run_piece(number, [&] { vmsrs::store(&words()[0], std::uint64_t{666}); });
    if (by_operator)
      suppress_as_operator(number);
    else
      BOOST_CHECK_EQUAL(vmsrs_user_suppress(number), 0);
    BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u);
    in_another_thread([&] {
      bool ran = false;
      BOOST_CHECK_EQUAL(resume(
                            number, [&] { ran = true; }, count, &told),
                        VMSRS_SUPPRESSED);
      BOOST_CHECK(!ran);
      BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[7], vmsrs::load(&words()[7])); }),
                        VMSRS_FINISHED);
    });
    BOOST_CHECK_EQUAL(told.load(), 1);
    BOOST_CHECK(is_pristine());
  }
}

BOOST_FIXTURE_TEST_CASE(between_begin_and_end, DefaultServer) {
  BOOST_REQUIRE_EQUAL(vmsrs_user_begin(7), 0);
  const std::uint64_t number = vmsrs_user_number();
  vmsrs::store(&words()[0], std::uint64_t{5});
  BOOST_CHECK_EQUAL(vmsrs_user_suspend(), 0);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUSPENDED);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(vmsrs_detach(), VMSRS_ERROR_STATE);
  in_another_thread([&] {
    BOOST_CHECK_EQUAL(vmsrs_user_resume(number), 0);
    BOOST_CHECK_EQUAL(vmsrs_user_resume(number), VMSRS_ERROR_STATE);
    vmsrs::store(&words()[1], std::uint64_t{6});
    BOOST_CHECK_EQUAL(vmsrs_user_suspend(), 0);
    BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUSPENDED);
  });
  BOOST_CHECK_EQUAL(vmsrs_user_resume(number), 0);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(words()[0], 5u);
  BOOST_CHECK_EQUAL(words()[1], 6u);
  vmsrs_user_begin(7);
  const std::uint64_t crashed = vmsrs_user_number();
  vmsrs_user_suspend();
  vmsrs_user_end();
  BOOST_CHECK_EQUAL(vmsrs_user_suppress(crashed), 0);
  BOOST_CHECK_EQUAL(vmsrs_user_resume(crashed), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_ERROR_STATE);
}

BOOST_FIXTURE_TEST_CASE(misuse_of_suspension, DefaultServer) {
  BOOST_CHECK_EQUAL(vmsrs_user_suspend(), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(resume(12345, [] {}), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(vmsrs_user_resume(0), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(vmsrs_run_resumed(0, nullptr, nullptr, nullptr, nullptr), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_user_resume(vmsrs_user_number()), VMSRS_ERROR_STATE);
                      run([] { BOOST_CHECK_EQUAL(vmsrs_user_suspend(), VMSRS_ERROR_STATE); });
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(
      vmsrs_run_reader(
          1, [](void*) { BOOST_CHECK_EQUAL(vmsrs_user_suspend(), VMSRS_ERROR_STATE); }, nullptr,
          nullptr, nullptr),
      VMSRS_FINISHED);
}

// What is kept of a suspended user lies in the process: who writes over it makes that user crash,
// at the latest when it goes on.
BOOST_FIXTURE_TEST_CASE(what_was_kept_is_damaged, DefaultServer) {
  std::uint64_t number = 0;
  std::atomic<int> effects{0}, told{0};
  run_piece(number, [&] {
    for (std::size_t i = 0; i < 100; ++i) vmsrs::store(&words()[8 * i], std::uint64_t{666});
    vmsrs_defer(count, &effects);
  });
  vmsrs_internal_range ranges[64];
  const std::size_t range_count = vmsrs_internal_ranges(ranges, std::size(ranges));
  std::size_t damaged = 0;
  for (std::size_t i = 0; i < range_count; ++i) {
    if (std::strcmp(ranges[i].name, "suspended users") != 0) continue;
    const std::size_t each = ranges[i].bytes / VMSRS_MAX_USERS;
    const std::size_t slot = number & (VMSRS_MAX_USERS - 1);
    auto* const kept = static_cast<unsigned char*>(ranges[i].address) + slot * each;
    damaged = each - sizeof number;  // all but whose it is
    std::memset(kept + sizeof number, 0xa5, damaged);
  }
  BOOST_REQUIRE_GT(damaged, 100u);
  in_another_thread([&] {
    BOOST_CHECK_EQUAL(resume(
                          number, [] { BOOST_ERROR("it runs"); }, count, &told),
                      VMSRS_SUPPRESSED);
  });
  BOOST_CHECK_EQUAL(effects.load(), 0);
  BOOST_CHECK(is_pristine());
}

// A server of a few threads that works on many requests in pieces; some crash, in whichever piece.
// Words hold what the finished ones stored.
BOOST_FIXTURE_TEST_CASE(many_requests_in_pieces, DefaultServer) {
  constexpr unsigned kThreads = 4, kRequests = 400, kPieces = 5;
  constexpr std::size_t kOwn = 4096;
  struct Request {
    unsigned index, piece = 0, crashes_at = kPieces;
    std::uint64_t user = 0;
  };
  std::deque<Request> waiting;
  std::mt19937 random(4711);
  for (unsigned i = 0; i < kRequests; ++i)
    waiting.push_back({i, 0, i % 7 == 3 ? static_cast<unsigned>(random() % kPieces) : kPieces, 0});
  std::mutex lock;
  std::atomic<unsigned> finished{0}, crashed{0}, moved{0};
  std::vector<bool> done(kRequests);
  const auto work = [&] {
    for (;;) {
      Request request{};
      {
        const std::scoped_lock held(lock);
        if (waiting.empty()) return;
        request = waiting.front();
        waiting.pop_front();
      }
      const auto piece = [&] {
        const std::size_t at = kOwn + std::size_t{16} * request.index + request.piece;
        vmsrs::store(&words()[at], std::uint64_t{request.index} * 10 + request.piece);
        if (request.piece == request.crashes_at) *static_cast<volatile std::uint64_t*>(wild()) = 1;
        request.user = vmsrs_user_number();
        if (request.piece + 1 < kPieces) (void)vmsrs_user_suspend();
      };
      const int outcome = request.piece == 0 ? run(piece) : resume(request.user, piece);
      const std::scoped_lock held(lock);
      moved += request.piece != 0;
      if (outcome == VMSRS_SUSPENDED) {
        ++request.piece;
        // Not in order: others come between.
        waiting.insert(waiting.begin() + static_cast<long>(random() % (waiting.size() + 1)),
                       request);
      } else {
        BOOST_CHECK_EQUAL(outcome,
                          request.crashes_at < kPieces ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
        ++(outcome == VMSRS_FINISHED ? finished : crashed);
        done[request.index] = outcome == VMSRS_FINISHED;
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  for (unsigned i = 0; i < kRequests; ++i)
    for (std::size_t piece = 0; piece < kPieces; ++piece) {
      const std::size_t at = kOwn + std::size_t{16} * i + piece;
      BOOST_CHECK_EQUAL(words()[at], done[i] ? std::uint64_t{i} * 10 + piece : at + 1);
    }
  BOOST_CHECK_EQUAL(finished + crashed, kRequests);
  BOOST_CHECK_GT(crashed.load(), 40u);
  BOOST_CHECK_GT(moved.load(), 1000u);
}

BOOST_AUTO_TEST_SUITE_END()
