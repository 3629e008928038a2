// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// What waits for a user's end: deferred effects, and what a crash takes back.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

// Which calls came, in order. Each argument points to one of these.
struct Call {
  std::vector<int>* log;
  int number;
};
void note(void* call) {
  const auto* const which = static_cast<const Call*>(call);
  which->log->push_back(which->number);
}

struct Calls {
  std::vector<int> log;
  Call first{&log, 1}, second{&log, 2}, third{&log, 3};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(effects, DefaultServer)

BOOST_AUTO_TEST_CASE(deferred_until_the_finish) {
  Calls calls;
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_defer(note, &calls.first), 0);
                      BOOST_CHECK_EQUAL(vmsrs_on_collected(note, &calls.second), 0);
                      run([&] { BOOST_CHECK_EQUAL(vmsrs_defer(note, &calls.third), 0); });
                      vmsrs::store(&words()[0], std::uint64_t{10});
                      BOOST_CHECK(calls.log.empty());
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK(calls.log == (std::vector{1, 3}));
  // A user that stored nothing, without a call of its own; and the log is empty again.
  BOOST_CHECK_EQUAL(run([&] { vmsrs_defer(note, &calls.second); }), VMSRS_FINISHED);
  BOOST_CHECK(calls.log == (std::vector{1, 3, 2}));
}

BOOST_AUTO_TEST_CASE(dropped_by_a_crash) {
  Calls calls;
  std::uint64_t after_restoration = 0;
  struct Look {
    std::uint64_t* word;
    std::uint64_t* seen;
  } look{&words()[0], &after_restoration};
  const auto see = [](void* what) {
    *static_cast<Look*>(what)->seen = *static_cast<Look*>(what)->word;
  };
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_defer(note, &calls.first);
                      vmsrs_on_collected(note, &calls.second);
                      vmsrs_on_collected(see, &look);
                      vmsrs::store(&words()[0], std::uint64_t{666});
                      fault(wild());
                      vmsrs_defer(note, &calls.first);
                      vmsrs_on_collected(note, &calls.third);
                      BOOST_CHECK(calls.log.empty());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(calls.log == (std::vector{2, 3}));
  BOOST_CHECK_EQUAL(after_restoration, 1u);  // what the word held before
}

BOOST_AUTO_TEST_CASE(of_a_user_that_is_unwound) {
  Calls calls;
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_defer(note, &calls.first);
                      vmsrs_on_collected(note, &calls.second);
                      asm volatile("ud2");
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(calls.log == (std::vector{2}));
}

BOOST_AUTO_TEST_CASE(outside_of_a_scope) {
  Calls calls;
  BOOST_CHECK_EQUAL(vmsrs_defer(note, &calls.first), 0);
  BOOST_CHECK_EQUAL(vmsrs_on_collected(note, &calls.second), 0);
  BOOST_CHECK(calls.log == (std::vector{1}));
  BOOST_CHECK_EQUAL(vmsrs_defer(nullptr, nullptr), VMSRS_ERROR_ARGUMENT);
}

// An effect may be a request of its own.
BOOST_AUTO_TEST_CASE(effects_with_users_of_their_own) {
  static AttachedServer* server = nullptr;
  static Calls* calls = nullptr;
  Calls of_this;
  server = this;
  calls = &of_this;
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_defer(
                          [](void*) {
                            run([&] {
                              vmsrs_defer(note, &calls->first);
                              vmsrs::store(&server->words()[3], std::uint64_t{33});
                            });
                          },
                          nullptr);
                      vmsrs_defer(note, &of_this.second);
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK(of_this.log == (std::vector{1, 2}));
  BOOST_CHECK_EQUAL(words()[3], 33u);
}

BOOST_AUTO_TEST_CASE(many) {
  constexpr int kMany = 10'000;  // of several pages
  int calls = 0;
  const auto count = [](void* number) { ++*static_cast<int*>(number); };
  for (int round = 0; round < 3; ++round)
    BOOST_CHECK_EQUAL(run([&] {
                        for (int i = 0; i < kMany; ++i) vmsrs_defer(count, &calls);
                      }),
                      VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(calls, 3 * kMany);
}

// What a user writes over them is not carried out, and it hears that it failed.
BOOST_AUTO_TEST_CASE(damaged) {
  Calls calls;
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs_defer(note, &calls.first);
                      vmsrs_on_collected(note, &calls.second);
                      vmsrs_internal_range ranges[64];
                      const std::size_t count = vmsrs_internal_ranges(ranges, 64);
                      bool found = false;
                      for (std::size_t i = 0; i < count && i < 64; ++i) {
                        if (std::strcmp(ranges[i].name, "what waits for the user's end") != 0)
                          continue;
                        found = true;
                        static_cast<Call**>(ranges[i].address)[1] = &calls.third;
                      }
                      BOOST_CHECK(found);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(calls.log.empty());
  BOOST_CHECK_EQUAL(run([&] { vmsrs_defer(note, &calls.first); }), VMSRS_FINISHED);
  BOOST_CHECK(calls.log == (std::vector{1}));
}

BOOST_AUTO_TEST_SUITE_END()
