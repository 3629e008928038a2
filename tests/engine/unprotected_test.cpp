// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "fixture.hpp"

// Storage is full, and the server's policy is that its stores go on. Such a store counts as one of
// a user of its own that finishes at once: it is committed, and what was written before it to the
// same bytes is past.
using namespace vmsrs::test;

namespace {

constexpr std::size_t kRecords = 31;  // of one page

// A region of 8 KiB with granules of 8 bytes takes 2 + 1 pages; two pages more are 31 records and
// their heads.
struct Full : OneServer<8> {
  Full() {
    policy(VMSRS_STORAGE_UNPROTECTED);
    begin(a);
    for (std::size_t i = 0; i < kRecords; ++i) store(a, 8 * i, 100 + i);
    begin(b);
  }
  void policy(vmsrs_storage_policy policy) {
    (void)manager.define(token, "shop", secret_of(1), 5 * VMSRS_PAGE_BYTES, 0, policy);
  }
  static std::uint64_t initial(std::size_t at) {
    std::uint64_t word = 0;
    for (unsigned i = 0; i < 8; ++i) word |= ((at + i) & 0xff) << (8 * i);
    return word;
  }
  std::uint64_t unprotected() { return info().unprotected_store_count; }
  vmsrs_check_result storage() { return check().results[VMSRS_CHECK_STORAGE]; }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(unprotected, Full)

BOOST_AUTO_TEST_CASE(store_goes_on_and_is_committed_at_once) {
  BOOST_TEST(unprotected() == 0u);
  BOOST_TEST(store(a, 8 * kRecords, 1) == VMSRS_OK);
  BOOST_TEST(word(8 * kRecords) == 1u);
  BOOST_TEST(mirror(8 * kRecords) == 1u);
  BOOST_TEST(unprotected() == 1u);
  BOOST_TEST(info().no_storage_count == 0u);
  BOOST_TEST(ledger().record_count == kRecords);
  a.crash();
  bury(a);
  for (std::size_t i = 0; i < kRecords; ++i) BOOST_TEST(word(8 * i) == initial(8 * i));
  BOOST_TEST(word(8 * kRecords) == 1u);  // past restoring
  BOOST_TEST(mirror(8 * kRecords) == 1u);
}

BOOST_AUTO_TEST_CASE(older_record_of_another_user_does_not_come_back) {
  BOOST_TEST(store(b, 0, 2) == VMSRS_OK);
  BOOST_TEST(unprotected() == 1u);
  BOOST_TEST(ledger().record_count == kRecords - 1);
  end(a);  // its commit must not bring 100 back
  BOOST_TEST(word(0) == 2u);
  BOOST_TEST(mirror(0) == 2u);
  end(b);
  BOOST_TEST(mirror(8) == 101u);
}

BOOST_AUTO_TEST_CASE(crash_of_the_older_writer_changes_nothing) {
  store(b, 0, 2);
  a.crash();
  BOOST_TEST(load(b, 0) == 2u);
  bury(a);
  BOOST_TEST(word(0) == 2u);
  BOOST_TEST(word(8) == initial(8));
}

BOOST_AUTO_TEST_CASE(only_the_bytes_that_were_stored) {
  BOOST_TEST(store(b, 4, 0xbbbbbbbb, 4) == VMSRS_OK);
  BOOST_TEST(word(0) == 0xbbbbbbbb00000064u);
  a.crash();
  BOOST_TEST(load(b, 0) == (0xbbbbbbbb00000000u | (initial(0) & 0xffffffff)));
  bury(a);
  end(b);
}

BOOST_AUTO_TEST_CASE(a_store_that_has_its_record_already_stays_protected) {
  BOOST_TEST(store(a, 0, 7) == VMSRS_OK);
  BOOST_TEST(unprotected() == 0u);
  a.crash();
  BOOST_TEST(load(b, 0) == initial(0));
}

BOOST_AUTO_TEST_CASE(over_a_crashed_users_bytes) {
  a.crash();
  BOOST_TEST(store(b, 40, 5) == VMSRS_OK);
  BOOST_TEST(unprotected() == 1u);
  BOOST_TEST(word(40) == 5u);
  b.crash();
  bury(b);
  bury(a);
  BOOST_TEST(word(40) == 5u);
  BOOST_TEST(mirror(40) == 5u);
  BOOST_TEST(!suppressing());
}

BOOST_AUTO_TEST_CASE(a_crashed_users_stores_are_dropped_all_the_same) {
  a.crash();
  BOOST_TEST(store(a, 8 * kRecords, 1) == VMSRS_CRASHED);
  BOOST_TEST(word(8 * kRecords) == initial(8 * kRecords));
  BOOST_TEST(unprotected() == 0u);
}

BOOST_AUTO_TEST_CASE(a_range_is_protected_whole_or_not_at_all) {
  end(a);
  const std::size_t bytes = 8 * (kRecords + 1);
  BOOST_TEST(b.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 0xcc, bytes).status == VMSRS_OK);
  BOOST_TEST(unprotected() == 1u);
  BOOST_TEST(ledger().record_count == 0u);
  b.crash();
  bury(b);
  for (std::size_t at = 0; at < bytes; at += 8) BOOST_TEST(word(at) == 0xccccccccccccccccu);
}

BOOST_AUTO_TEST_CASE(a_page_that_is_missing_changes_nothing) {
  b.memory.set_page(memory, HostMemory::Page::kNotPresent);
  BOOST_TEST(store(b, 0, 2) == VMSRS_TOUCH);
  BOOST_TEST(unprotected() == 0u);
  BOOST_TEST(mirror(0) == initial(0));
  BOOST_TEST(ledger().record_count == kRecords);
}

BOOST_AUTO_TEST_CASE(policy_may_change_while_the_server_runs) {
  policy(VMSRS_STORAGE_REFUSE);
  BOOST_TEST(store(b, 0, 2) == VMSRS_NO_STORAGE);
  BOOST_TEST(info().no_storage_count == 1u);
  policy(VMSRS_STORAGE_UNPROTECTED);
  BOOST_TEST(store(b, 0, 2) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(regions_are_refused_whatever_the_policy) {
  alignas(64) static std::uint8_t more[VMSRS_PAGE_BYTES];
  BOOST_TEST(c.profile(more, sizeof more, 64).status == VMSRS_NO_STORAGE);
}

// ---- what a check says

BOOST_AUTO_TEST_CASE(check_names_the_server_until_it_attaches_anew) {
  BOOST_TEST(sound());
  store(b, 0, 2);   // takes a's record away, so that there is room
  store(b, 8, 2);   // for the next one's
  store(b, 16, 2);  // and no more
  const vmsrs_check_report report = check();
  for (std::uint32_t i = 0; i < VMSRS_CHECK_COUNT; ++i)
    BOOST_TEST(
        report.results[i].verdict ==
        std::uint32_t(i == VMSRS_CHECK_STORAGE ? VMSRS_VERDICT_UNPROTECTED : VMSRS_VERDICT_OK));
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].server == 0u);
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].detail == 2u);
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].violation_count == 0u);
  end(a);
  end(b);
  BOOST_TEST(storage().verdict == std::uint32_t{VMSRS_VERDICT_UNPROTECTED});  // still
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(storage().verdict == std::uint32_t{VMSRS_VERDICT_OK});
  BOOST_TEST(a.attach("shop", secret_of(1), kServerProcess).status == VMSRS_OK);
  BOOST_TEST(storage().verdict == std::uint32_t{VMSRS_VERDICT_OK});
  BOOST_TEST(unprotected() == 2u);  // counters stay
}

BOOST_AUTO_TEST_CASE(check_names_the_right_server) {
  (void)manager.define(token, "other", secret_of(2), VMSRS_PAGE_BYTES * 2, 0,
                       VMSRS_STORAGE_UNPROTECTED);
  Client other(0x200000, 1);
  (void)other.attach("other", secret_of(2), 1);
  alignas(64) static std::uint8_t region[64];
  BOOST_TEST(other.profile(region, sizeof region, 8).status == VMSRS_OK);
  begin(other);
  BOOST_TEST(other.call(VMSRS_CALL_STORE, address_of(region), 1, 8).status == VMSRS_OK);
  vmsrs_check_report report{};
  manager.check(token, report, [&] {
    serve();
    (void)other.call(VMSRS_CALL_SERVICE);
  });
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].server == 1u);
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].detail == 1u);
}

BOOST_AUTO_TEST_CASE(a_violation_says_more) {
  store(b, 0, 2);
  ledger().at(ledger().regions[0].heads[1]).bytes[0] ^= 1;
  BOOST_TEST(storage().verdict == std::uint32_t{VMSRS_VERDICT_VIOLATED});
  BOOST_TEST(storage().violation_count == 1u);
  BOOST_TEST(storage().detail == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
