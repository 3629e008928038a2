// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// What a program must not do, and what happens if it does (docs/library.md, Misuse).
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

bool message_has(const char* text) {
  BOOST_TEST_MESSAGE(vmsrs_error_message());
  return std::strstr(vmsrs_error_message(), text) != nullptr;
}

bool ends_too_much() {
  return vmsrs_user_end() == VMSRS_ERROR_STATE && message_has("no open user scope");
}

// A region beside the fixture's, of two pages that hold 7, 7, 7, ... At the end it is there, as
// what is committed says: the fixture looks at all regions.
struct SecondRegion {
  static constexpr std::size_t kBytes = 2 * VMSRS_PAGE_BYTES;

  SecondRegion() {
    map(0);
    fill(7);
    BOOST_REQUIRE_EQUAL(profile(words, kBytes, 8), 0);
  }
  void map(int fixed) {
    words = static_cast<std::uint64_t*>(
        mmap(words, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0));
  }
  void unmap() { munmap(words, kBytes); }
  void fill(std::uint64_t value) {
    for (std::size_t i = 0; i < kBytes / 8; ++i) words[i] = value;
  }
  // Where Linux puts nothing by itself: while it is unmapped, no thread's stack may come there.
  std::uint64_t* words = reinterpret_cast<std::uint64_t*>(0x2000'0000'0000);
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(misuse, DefaultServer)

BOOST_AUTO_TEST_CASE(a_thread_that_ends_within_its_scope) {
  const vmsrs_server_info before = server_info();
  for (unsigned round = 0; round < 3; ++round) {
    std::thread([&] {
      BOOST_REQUIRE_EQUAL(vmsrs_user_begin(1), 0);
      if (round > 0) BOOST_REQUIRE_EQUAL(vmsrs_user_begin(2), 0);  // scopes within it as well
      vmsrs::store(&words()[round], std::uint64_t{666});
      if (round == 2) fault(wild());  // it had crashed already
    }).join();
    BOOST_CHECK(is_pristine());
    // The word is free for others, what was open is not, and its place is.
    BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[round], std::uint64_t{round + 1}); }),
                      VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(server_info().active_users, before.active_users);
    BOOST_CHECK_EQUAL(server_info().crashed_users, 0u);
  }
  const vmsrs_server_info after = server_info();
  BOOST_CHECK_EQUAL(after.faults[VMSRS_FAULT_ABORT], before.faults[VMSRS_FAULT_ABORT] + 3);
  BOOST_CHECK_GE(after.collect_restore_count, before.collect_restore_count + 3);
}

BOOST_AUTO_TEST_CASE(a_scope_that_is_ended_twice) {
  BOOST_CHECK(ends_too_much());
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  vmsrs::store(&words()[2], std::uint64_t{22});
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
  BOOST_CHECK(ends_too_much());
  BOOST_CHECK_EQUAL(words()[2], 22u);
  // After a crash, too.
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  fault(wild());
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUPPRESSED);
  BOOST_CHECK(ends_too_much());
}

// The scope of a body ends when the body returns, and not before.
BOOST_AUTO_TEST_CASE(a_body_that_ends_its_own_scope) {
  const auto end_here = [&] {
    vmsrs::store(&words()[3], std::uint64_t{33});
    BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_ERROR_STATE);
    BOOST_CHECK(message_has("when its body returns"));
  };
  for (unsigned round = 0; round < 2; ++round) {
    BOOST_CHECK_EQUAL(run(end_here), VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(run([&] { run(end_here); }), VMSRS_FINISHED);
  }
  BOOST_CHECK_EQUAL(run([&] {
                      vmsrs::store(&words()[3], std::uint64_t{44});
                      end_here();
                      fault(wild());  // still within it
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[3], 33u);
  // Scopes that the body itself began are its own to end, once.
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_user_begin(2), 0);
                      BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
                      end_here();
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  run(end_here);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
}

BOOST_AUTO_TEST_CASE(a_body_that_leaves_a_scope_open) {
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK_EQUAL(vmsrs_user_begin(2), 0);
                      vmsrs::store(&words()[4], std::uint64_t{55});
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK(ends_too_much());
  BOOST_CHECK_EQUAL(words()[4], 55u);
}

BOOST_AUTO_TEST_CASE(a_scope_that_is_ended_on_another_thread) {
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  vmsrs::store(&words()[5], std::uint64_t{66});
  std::thread([&] { BOOST_CHECK(ends_too_much()); }).join();
  fault(wild());  // the scope is open as before
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[5], 6u);
}

BOOST_AUTO_TEST_CASE(detaching_while_another_thread_has_a_scope) {
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  std::thread([&] {
    BOOST_CHECK_EQUAL(vmsrs_detach(), VMSRS_ERROR_STATE);
    BOOST_CHECK(message_has("wait until every user has ended"));
  }).join();
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_FINISHED);
}

// One that overlaps another region: nothing of the attempt stays.
BOOST_AUTO_TEST_CASE(a_region_that_is_refused) {
  const auto mapped_pages = [] {
    unsigned long pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages;
  };
  constexpr std::size_t kPages = kRegionBytes / VMSRS_PAGE_BYTES;
  void* const memory =
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const unsigned long before = mapped_pages();
  for (unsigned i = 0; i < 100; ++i) {
    BOOST_REQUIRE_EQUAL(profile(words(), kRegionBytes, 8), VMSRS_ERROR_ARGUMENT);
    if (i == 0) BOOST_CHECK(message_has("profile"));
  }
  BOOST_CHECK_LT(mapped_pages(), before + 10 * kPages);
  // Another one is protected, though its claims lie where those of the attempts were: two users
  // that store to one granule, of whom one crashes.
  BOOST_REQUIRE_EQUAL(profile(memory, kRegionBytes, 8), 0);
  auto* const word = static_cast<std::uint64_t*>(memory);
  const int outcome = run([&] {
    vmsrs::store(word, std::uint64_t{9});
    std::thread([&] {
      const int crashed = run([&] {
        vmsrs::store(word, std::uint64_t{666});
        fault(wild());
      });
      BOOST_CHECK_EQUAL(crashed, VMSRS_SUPPRESSED);
    }).join();
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(*word, 9u);
}

// Whoever touches what is gone crashes; nobody else notices. What such a user owned there can be
// restored on vmsrs-hosted, which has the memory itself, and where each store is a call; else it is
// stuck, and its thread has no other user, until there is memory again.
BOOST_AUTO_TEST_CASE(a_region_that_is_unmapped) {
  SecondRegion region;
  region.unmap();
  BOOST_CHECK_EQUAL(run([&] { vmsrs::load(&region.words[0]); }), VMSRS_SUPPRESSED);
  std::thread([&] {
    const int outcome = run([&] {
      vmsrs::store(&words()[6], std::uint64_t{666});
      vmsrs::store(&region.words[0], std::uint64_t{9});
    });
    const bool stuck = outcome != VMSRS_SUPPRESSED;
    if (stuck) {
      BOOST_CHECK_EQUAL(outcome, VMSRS_ERROR_ARGUMENT);
      BOOST_CHECK(message_has("collection of a crashed user: the address is not"));
      BOOST_CHECK_EQUAL(run([] {}), VMSRS_ERROR_STATE);
      BOOST_CHECK(message_has("has not been collected yet"));
    }
    BOOST_CHECK_EQUAL(server_info().stuck_users, stuck ? 1u : 0u);
    std::thread([&] {
      BOOST_CHECK_EQUAL(vmsrs::load(&words()[6]), 7u);
      BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&words()[6], std::uint64_t{7}); }), VMSRS_FINISHED);
    }).join();
    region.map(MAP_FIXED);
    region.fill(7);
    BOOST_CHECK_EQUAL(run([] {}), VMSRS_FINISHED);
  }).join();
  BOOST_CHECK_EQUAL(server_info().crashed_users, 0u);
  BOOST_CHECK(is_pristine());
}

// The user that was at work there finishes with all that it stored, or fails with all of it.
void unmap_within_a_scope(DefaultServer& server) {
  SecondRegion region;
  int outcome = 0;
  std::thread([&] {
    outcome = run([&] {
      vmsrs::store(&server.words()[6], std::uint64_t{666});
      vmsrs::store(&region.words[0], std::uint64_t{8});
      region.unmap();
    });
    BOOST_TEST_MESSAGE("outcome " << outcome << ": " << vmsrs_error_message());
    if (outcome < 0) BOOST_CHECK(message_has("collection of a crashed user: the address is not"));
    BOOST_CHECK_EQUAL(server_info().stuck_users, outcome < 0 ? 1u : 0u);
    std::thread([&] {
      const std::uint64_t seen = vmsrs::load(&server.words()[6]);
      BOOST_CHECK_EQUAL(seen, outcome == VMSRS_FINISHED ? 666u : 7u);
    }).join();
    region.map(MAP_FIXED);
    region.fill(7);
    region.words[0] = outcome == VMSRS_FINISHED ? 8 : 7;
    BOOST_CHECK_EQUAL(run([] {}), VMSRS_FINISHED);
  }).join();
  BOOST_CHECK_EQUAL(server_info().crashed_users, 0u);
}

BOOST_AUTO_TEST_CASE(a_region_that_is_unmapped_within_a_scope) { unmap_within_a_scope(*this); }

// It is the engine then that finds nothing there, not the library.
BOOST_AUTO_TEST_CASE(a_region_that_is_unmapped_within_a_scope_without_a_call_buffer) {
  seam.without_call_buffer = true;
  unmap_within_a_scope(*this);
}

BOOST_AUTO_TEST_SUITE_END()
