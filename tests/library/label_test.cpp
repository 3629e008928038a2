// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// What lists show of a crashed user: the label that its program gave it.
using namespace vmsrs::test;

namespace {

const std::string kLabel = "session 4711; trace \x1b[2J\xff";

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

// Calls of this thread. Where each store is one, a user's begin and end are as well.
std::uint64_t calls() { return seam.call_count.load(); }

// The label of the calling thread's user, which has crashed, and its number.
struct Seen {
  std::uint64_t user = 0;
  std::string within, after;

  void look() { within = label_seen(user); }
};

// Where the library keeps it; nullptr: nowhere.
char* find_kept(const std::string& text) {
  vmsrs_internal_range ranges[32];
  const std::size_t count = vmsrs_internal_ranges(ranges, std::size(ranges));
  for (std::size_t i = 0; i < count; ++i)
    if (std::strcmp(ranges[i].name, "thread context") == 0)
      return static_cast<char*>(
          memmem(ranges[i].address, ranges[i].bytes, text.data(), text.size()));
  return nullptr;
}

template <typename Crash>
Seen crash_labelled(Crash crash) {
  Seen seen;
  const int outcome = run(
      [&] {
        BOOST_CHECK_EQUAL(vmsrs::label_user(kLabel), 0);
        seen.user = vmsrs_user_number();
        BOOST_CHECK_EQUAL(label_seen(seen.user), "");  // nobody has been told
        crash();
        seen.look();
      },
      [](void* seen_by) { static_cast<Seen*>(seen_by)->look(); }, &seen);
  BOOST_CHECK(outcome == VMSRS_SUPPRESSED || outcome == VMSRS_UNWOUND);
  seen.after = label_seen(seen.user);
  return seen;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(labels, DefaultServer)

BOOST_AUTO_TEST_CASE(handed_over_by_the_crash) {
  const Seen seen = crash_labelled([&] { fault(wild()); });
  BOOST_CHECK_EQUAL(seen.within, kLabel);
  BOOST_CHECK_EQUAL(seen.after, kLabel);  // of those that were recently collected
}

BOOST_AUTO_TEST_CASE(of_users_that_are_unwound_or_declared) {
  const Seen unwound = crash_labelled([] { abort(); });
  BOOST_CHECK_EQUAL(unwound.within, kLabel);
  BOOST_CHECK_EQUAL(unwound.after, kLabel);
  const Seen declared = crash_labelled([&] {
    suppress_as_operator(vmsrs_user_number());
    vmsrs::store(&words()[0], std::uint64_t{5});  // hears of it
  });
  BOOST_CHECK_EQUAL(declared.within, kLabel);
  const Seen heard_at_its_end = crash_labelled([] { suppress_as_operator(vmsrs_user_number()); });
  BOOST_CHECK_EQUAL(heard_at_its_end.after, kLabel);
}

// What was stored cannot be told any more: the user crashes at its end, with nobody to hear of it.
BOOST_AUTO_TEST_CASE(of_a_user_that_its_end_crashes) {
  if (getenv("VMSRS_TEST_TRAPPING") != nullptr) return;  // then the engine knows what was stored
  std::uint64_t user = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs::label_user(kLabel), 0);
                      user = vmsrs_user_number();
                      vmsrs::store(&words()[0], std::uint64_t{5});
                      vmsrs_fast_thread.set.masked ^= 1;
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(label_seen(user), kLabel);
}

BOOST_AUTO_TEST_CASE(no_call_for_users_that_do_not_crash) {
  run([] {});  // the thread's first user is begun by a call
  const std::uint64_t before = calls();
  run([] {});
  const std::uint64_t without = calls() - before;
  BOOST_CHECK_EQUAL(run([] { BOOST_CHECK_EQUAL(vmsrs::label_user(kLabel), 0); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(calls() - before, 2 * without);
}

BOOST_AUTO_TEST_CASE(the_last_one_of_this_user_counts) {
  std::uint64_t user = 0;
  run([&] {
    BOOST_CHECK_EQUAL(vmsrs::label_user("first, and longer"), 0);
    run([] { BOOST_CHECK_EQUAL(vmsrs::label_user("second"), 0); });  // part of the same user
    user = vmsrs_user_number();
    fault(wild());
    BOOST_CHECK_EQUAL(vmsrs::label_user("too late"), VMSRS_ERROR_STATE);
    BOOST_CHECK_EQUAL(label_seen(user), "second");
  });
  BOOST_CHECK_EQUAL(label_seen(user), "second");
  BOOST_CHECK_EQUAL(run([] { BOOST_CHECK_EQUAL(vmsrs::label_user("of one that finishes"), 0); }),
                    VMSRS_FINISHED);
  // The thread's next user has none, and neither has one whose label was taken away.
  for (const bool gives : {false, true}) {
    run([&] {
      if (gives) BOOST_CHECK_EQUAL(vmsrs::label_user("x"), 0);
      if (gives) BOOST_CHECK_EQUAL(vmsrs_user_label(nullptr, 0), 0);
      user = vmsrs_user_number();
      fault(wild());
    });
    BOOST_CHECK_EQUAL(label_seen(user), "");
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_label) {
  BOOST_CHECK_EQUAL(vmsrs::label_user("nobody's"), VMSRS_ERROR_STATE);
  std::uint64_t user = 0;
  run([&] {
    BOOST_CHECK_EQUAL(vmsrs::label_user(std::string(65, 'x')), VMSRS_ERROR_ARGUMENT);
    BOOST_CHECK_EQUAL(vmsrs_user_label(nullptr, 1), VMSRS_ERROR_ARGUMENT);
    BOOST_CHECK_EQUAL(vmsrs::label_user(std::string(64, 'x')), 0);
    BOOST_CHECK_EQUAL(vmsrs_user_crashed(), false);
    user = vmsrs_user_number();
    // A label that cannot be read is its user's fault, and none.
    BOOST_CHECK_EQUAL(vmsrs_user_label(wild(), 8), VMSRS_ERROR_STATE);
    BOOST_CHECK_EQUAL(vmsrs_user_crashed(), true);
  });
  BOOST_CHECK_EQUAL(label_seen(user), std::string(64, 'x'));
}

// Whoever scribbles over what the library keeps of its thread shows no label of somebody else's.
BOOST_AUTO_TEST_CASE(a_damaged_label_is_not_shown) {
  std::uint64_t user = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs::label_user(kLabel), 0);
                      user = vmsrs_user_number();
                      char* const kept = find_kept(kLabel);
                      BOOST_REQUIRE(kept != nullptr);
                      *kept = 'S';
                      fault(wild());
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(label_seen(user), "");
}

BOOST_AUTO_TEST_SUITE_END()
