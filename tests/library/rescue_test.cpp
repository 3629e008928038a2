// SPDX-License-Identifier: Apache-2.0
#include "rescue.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"
#include "thread.hpp"

// Functions out of which a crashed user's thread comes with an error that their caller knows.
using namespace vmsrs::test;

namespace {

constexpr int kError = -7, kValue = 42;
constexpr std::uint64_t kPollution = 0xbad;

[[gnu::noinline]] void fault(std::uint64_t* wild) {
  *static_cast<volatile std::uint64_t*>(wild) = 1;
}

[[gnu::noinline]] int overflow(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

[[gnu::noinline]] void throws(int value) {
  if (value != 0) throw std::runtime_error("thrown by a user");
}
void throws_where_it_must_not() noexcept { throws(1); }

void count(void* counter) { ++*static_cast<int*>(counter); }

struct Rescuing : DefaultServer {
  // A server's function fails; its caller gets the error, and what it does then does not count.
  template <typename Fault>
  void check_rescued(vmsrs_fault_kind kind, bool runs_on, Fault fail) {
    BOOST_TEST_CONTEXT("fault " << kind) {
      int crashes = 0, result = 0;
      bool went_on = false;
      const int outcome = run(
          [&] {
            vmsrs::store(&words()[0], kPollution);
            const std::uint64_t blocked = blocked_signals();
            result = vmsrs::rescue(kError, [&] {
              vmsrs::store(&words()[1], kPollution);
              fail();
              went_on = true;
              return kValue;
            });
            BOOST_CHECK(vmsrs_user_crashed());
            BOOST_CHECK(blocked_signals() == blocked);
            BOOST_CHECK(std::current_exception() == nullptr);
            BOOST_CHECK_EQUAL(vmsrs_user_error(), kind);
            vmsrs::store(&words()[2], kPollution);
          },
          count, &crashes);
      BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
      BOOST_CHECK_EQUAL(result, kError);
      BOOST_CHECK_EQUAL(went_on, runs_on);
      BOOST_CHECK_EQUAL(crashes, 1);
    }
    BOOST_CHECK(is_pristine());
    BOOST_CHECK_EQUAL(std::uncaught_exceptions(), 0);
    BOOST_CHECK_EQUAL(vmsrs_user_error(), VMSRS_FAULT_NONE);
    BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[3], std::uint64_t{4}); }), VMSRS_FINISHED);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(rescue, Rescuing)

BOOST_AUTO_TEST_CASE(faults_give_the_error_at_once) {
  check_rescued(VMSRS_FAULT_WILD, false, [&] { fault(wild()); });
  check_rescued(VMSRS_FAULT_NULL, false, [] {
    asm volatile("movq 8, %%rax" : : : "rax", "memory");
  });
  check_rescued(VMSRS_FAULT_ARITHMETIC, false, [] {
    asm volatile("xor %%ecx, %%ecx\n\tidivl %%ecx" : : "a"(1), "d"(0) : "ecx", "cc");
  });
  check_rescued(VMSRS_FAULT_ILLEGAL, false, [] { asm volatile("ud2"); });
  check_rescued(VMSRS_FAULT_WILD, false,
                [&] { reinterpret_cast<void (*)()>(reinterpret_cast<std::uintptr_t>(wild()))(); });
}

// Where nothing can be stepped over: without a rescue point the user's work would end here.
BOOST_AUTO_TEST_CASE(what_does_not_return_gives_the_error) {
  check_rescued(VMSRS_FAULT_ABORT, false, [] { std::abort(); });
  check_rescued(VMSRS_FAULT_ABORT, false, [] { throws_where_it_must_not(); });
#ifndef __SANITIZE_ADDRESS__
  check_rescued(VMSRS_FAULT_STACK, false, [] { overflow(0); });
#endif
}

BOOST_AUTO_TEST_CASE(what_is_no_fault_replaces_the_value) {
  check_rescued(VMSRS_FAULT_CHECK, true, [] { crash_suppression_os(VMSRS_FAULT_CHECK, nullptr); });
  check_rescued(VMSRS_FAULT_CHECK, true,
                [] { vmsrs_report_misuse("test", nullptr, "it was asked to"); });
  check_rescued(VMSRS_FAULT_OPERATOR, true, [] { suppress_as_operator(vmsrs_user_number()); });
}

#ifndef __SANITIZE_ADDRESS__  // whose strlen() is another
// Its locks, if it has taken any, are let go first: it runs on, and its caller too.
BOOST_AUTO_TEST_CASE(in_libc_the_function_runs_on) {
  check_rescued(VMSRS_FAULT_WILD, true, [&] {
    std::size_t (*volatile length)(const char*) = strlen;
    static_cast<void>(length(reinterpret_cast<const char*>(wild())));
  });
}
#endif

BOOST_AUTO_TEST_CASE(without_a_crash_it_is_a_call) {
  const auto doubled = [](void* number) { return 2 * *static_cast<int*>(number); };
  int number = 21;
  BOOST_CHECK_EQUAL(vmsrs_rescue(doubled, &number, kError), kValue);  // without a user
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_rescue(doubled, &number, kError), kValue);
                      BOOST_CHECK(vmsrs::rescue([&] { vmsrs::store(&words()[0], kPollution); }));
                      BOOST_CHECK_EQUAL(
                          vmsrs::rescue(std::string("error"),
                                        [] { return std::string("a value that is no number"); }),
                          "a value that is no number");
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(words()[0], kPollution);
  run([&] { vmsrs::store(&words()[0], std::uint64_t{1}); });
}

BOOST_AUTO_TEST_CASE(the_innermost_one_gives_its_error) {
  int inner = 0, outer = 0, later = 0;
  const int outcome = run([&] {
    outer = vmsrs::rescue(kError, [&] {
      inner = vmsrs::rescue(kError - 1, [&] {
        fault(wild());
        return kValue;
      });
      return kValue;  // it knew what to do about the inner error
    });
    // A user that had crashed before: it comes out of its error path in the same way.
    later = vmsrs::rescue(kError - 2, [&] {
      inner += vmsrs::rescue(0, [] { return 0; });
      fault(wild());
      return kValue;
    });
    fault(wild());  // outside of all of them: stepped over
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(inner, kError - 1);
  BOOST_CHECK_EQUAL(outer, kValue);
  BOOST_CHECK_EQUAL(later, kError - 2);
}

BOOST_AUTO_TEST_CASE(scopes_of_the_function_are_closed) {
  int before = 0, after = 0, first = 0, second = 0;
  bool went_on = false;
  const int outcome = run(
      [&] {
        for (int* const error : {&first, &second})
          *error = vmsrs::rescue(kError, [&] {
            run(
                [&] {
                  vmsrs_user_begin(7);
                  vmsrs::store(&words()[0], kPollution);
                  fault(wild());
                },
                count, &after);
            return kValue;
          });
        fault(wild());
        went_on = true;
        BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_ERROR_STATE);  // the only scope is the body's
      },
      count, &before);
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(went_on);
  BOOST_CHECK_EQUAL(first, kError);
  BOOST_CHECK_EQUAL(second, kError);
  BOOST_CHECK_EQUAL(before, 1);
  BOOST_CHECK_EQUAL(after, 2);  // at the crash, and for the scope that was opened after it
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_CASE(within_a_scope_of_two_calls) {
  BOOST_CHECK_EQUAL(vmsrs_user_begin(7), 0);
  BOOST_CHECK(!vmsrs::rescue([] { std::abort(); }));  // which would park the thread
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUPPRESSED);
}

// Frames that are skipped get no destructors; an exception runs them, and leaves the point behind.
BOOST_AUTO_TEST_CASE(exceptions_and_destructors) {
  struct Counts {
    int& count;
    ~Counts() { ++count; }
  };
  int destroyed = 0;
  bool went_on = false;
  const int outcome = run([&] {
    BOOST_CHECK_THROW(static_cast<void>(vmsrs::rescue([&] {
                        const Counts counts{destroyed};
                        throw std::runtime_error("the server's own");
                      })),
                      std::runtime_error);
    BOOST_CHECK(!vmsrs_user_crashed());
    BOOST_CHECK(vmsrs::guest::thread_context().rescue == nullptr);
    BOOST_CHECK_EQUAL(destroyed, 1);
    fault(wild());  // there is no point any more: it is stepped over
    went_on = true;
    BOOST_CHECK(!vmsrs::rescue([&] {
      const Counts counts{destroyed};
      fault(wild());
    }));
    BOOST_CHECK_EQUAL(destroyed, 1);
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(went_on);
}

// A fault in on_crash is stepped over: what follows the crash must be done.
BOOST_AUTO_TEST_CASE(on_crash_is_not_left) {
  struct Callback {
    std::uint64_t* wild;
    int began, ended;
  } callback{wild(), 0, 0};
  int result = 0;
  run([&] { result = vmsrs::rescue(kError, [&] { return fault(wild()), kValue; }); },
      [](void* p) {
        auto& call = *static_cast<Callback*>(p);
        ++call.began;
        fault(call.wild);
        ++call.ended;
      },
      &callback);
  BOOST_CHECK_EQUAL(result, kError);
  BOOST_CHECK_EQUAL(callback.began, 1);
  BOOST_CHECK_EQUAL(callback.ended, 1);
}

// Nobody lands where a damaged point says.
BOOST_AUTO_TEST_CASE(a_damaged_point_is_not_used) {
  bool went_on = false;
  const int outcome = run([&] {
    static_cast<void>(vmsrs::rescue([&] {
      vmsrs::guest::thread_context().rescue->landing->__jmpbuf[0] ^= 64;
      fault(wild());
      went_on = true;
    }));
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(went_on);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

struct Bounded : AttachedServer {
  static constexpr std::uint32_t kFaultLimit = 10;
  Bounded() : AttachedServer(kFaultLimit, 300'000) {}
};

// System calls of crashed users are looked at.
struct Policed : AttachedServer {
  static vmsrs_options options() {
    vmsrs_options options{};
    options.suppression_limit_ms = 300'000;
    options.site_crash_limit = options.crash_limit = 1'000'000;
    return options;
  }
  Policed() : AttachedServer(options()) {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(rescue_ends)

BOOST_FIXTURE_TEST_CASE(rescues_are_bounded, Bounded) {
  std::uint32_t tries = 0;
  const int outcome = run([&] {
    for (;;) {
      ++tries;
      static_cast<void>(vmsrs::rescue([&] { fault(wild()); }));
    }
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(tries, kFaultLimit);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(rescue_policed)

// What all of it is for: the server's own error path tells the client.
BOOST_FIXTURE_TEST_CASE(the_client_is_told, Policed) {
  int client[2], other[2];
  BOOST_REQUIRE_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, client), 0);
  BOOST_REQUIRE_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
  const std::string answer = "500 it failed\n";
  ssize_t told = 0, refused = 0;
  const int outcome = run([&] {
    BOOST_CHECK_EQUAL(vmsrs_user_connection(client[0]), 0);
    const int error = vmsrs::rescue(500, [&] { return fault(wild()), 200; });
    if (error != 500) return;
    told = write(client[0], answer.data(), answer.size());
    refused = write(other[0], answer.data(), answer.size());
  });
  char text[64];
  const ssize_t heard = recv(client[1], text, sizeof text, MSG_DONTWAIT);
  for (const int descriptor : {client[0], client[1], other[0], other[1]}) close(descriptor);
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(told, static_cast<ssize_t>(answer.size()));
  BOOST_CHECK_EQUAL(refused, -1);
  BOOST_CHECK_EQUAL(std::string(text, heard > 0 ? static_cast<std::size_t>(heard) : 0), answer);
}

BOOST_AUTO_TEST_SUITE_END()
