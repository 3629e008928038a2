// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "fixture.hpp"

// The contract of recovery, points 4 to 6 and 10, and the holes that were once found there.
using namespace vmsrs::test;

BOOST_FIXTURE_TEST_SUITE(contract_of_scopes, OneServer<>)

// ---- 4: data and metadata change together

BOOST_AUTO_TEST_CASE(store_over_a_missing_page_changes_neither) {
  begin(a);
  std::uint8_t before[sizeof memory];
  std::memcpy(before, memory, sizeof memory);
  a.memory.set_page(memory + VMSRS_PAGE_BYTES, HostMemory::Page::kNotPresent);
  const Result result =
      a.call(VMSRS_CALL_FILL_RANGE, address_of(memory + VMSRS_PAGE_BYTES - 100), 0xcc, 200);
  BOOST_TEST(result.status == VMSRS_TOUCH);
  BOOST_TEST(result.rdx == address_of(memory + VMSRS_PAGE_BYTES));
  BOOST_TEST(std::memcmp(before, memory, sizeof memory) == 0);
  BOOST_TEST(ledger().record_count == 0u);
  a.memory.touch(result.rdx);
  BOOST_TEST(a.call(VMSRS_CALL_FILL_RANGE, address_of(memory + VMSRS_PAGE_BYTES - 100), 0xcc, 200)
                 .status == VMSRS_OK);
  BOOST_TEST(ledger().record_count == 14u);
}

BOOST_AUTO_TEST_CASE(range_may_overlap_its_source) {
  begin(a);
  std::uint8_t wanted[100];
  std::memcpy(wanted, memory, sizeof wanted);
  a.call(VMSRS_CALL_STORE_RANGE, address_of(memory + 10), address_of(memory), sizeof wanted);
  BOOST_TEST(std::memcmp(memory + 10, wanted, sizeof wanted) == 0);
}

// ---- 5: a crashed user's later writes change nothing

BOOST_AUTO_TEST_CASE(crashed_stores_are_dropped_and_counted) {
  begin(a);
  store(a, 8, 111);
  a.crash();
  const std::uint64_t before = word(64);
  BOOST_TEST(store(a, 64, 333) == VMSRS_CRASHED);
  BOOST_TEST(a.call(VMSRS_CALL_FILL_RANGE, address_of(memory + 64), 1, 8).status == VMSRS_CRASHED);
  BOOST_TEST(
      a.call(VMSRS_CALL_STORE_RANGE, address_of(memory + 64), address_of(memory), 8).status ==
      VMSRS_CRASHED);
  BOOST_TEST(word(64) == before);
  BOOST_TEST(info().suppressed_store_count == 3u);
}

// Hole 13: the second store is as dead as the first, however often the user comes back.
BOOST_AUTO_TEST_CASE(crashed_user_learns_it_at_every_turn) {
  begin(a);
  begin(a);
  a.crash();
  BOOST_TEST(a.call(VMSRS_CALL_LOAD, address_of(memory), 8).status == VMSRS_CRASHED);
  BOOST_TEST(a.call(VMSRS_CALL_LOAD_RANGE, address_of(memory), 8).status == VMSRS_CRASHED);
  const Result again = a.crash();
  BOOST_TEST(again.status == VMSRS_CRASHED);
  BOOST_TEST(again.rdx == 2u);
  BOOST_TEST(collect(a) == VMSRS_WRONG_STATE);
  BOOST_TEST(a.call(VMSRS_CALL_USER_END).rdx == 1u);
  BOOST_TEST(end(a) == VMSRS_CRASHED);
  BOOST_TEST(begin(a) == VMSRS_CRASHED);
  BOOST_TEST(collect(a) == VMSRS_OK);
  BOOST_TEST(begin(a) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(stuck_user_stays_suppressed_and_is_reported) {
  const std::uint64_t initial = word(8);
  begin(a);
  BOOST_TEST(a.call(VMSRS_CALL_USER_STUCK).status == VMSRS_WRONG_STATE);
  store(a, 8, 111);
  a.crash();
  BOOST_TEST(a.call(VMSRS_CALL_USER_STUCK).status == VMSRS_OK);
  BOOST_TEST(a.call(VMSRS_CALL_USER_STUCK).status == VMSRS_OK);
  BOOST_TEST(info().stuck_users == 1u);
  BOOST_TEST(info().crashed_users == 1u);
  BOOST_TEST((window().users[0] & 3) == VMSRS_USER_STUCK);
  BOOST_TEST(load(b, 8) == initial);
  BOOST_TEST(sound());
}

// ---- 6: collection

BOOST_AUTO_TEST_CASE(collection_leaves_nothing_behind) {
  std::uint8_t before[sizeof memory];
  std::memcpy(before, memory, sizeof memory);
  begin(a);
  a.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 0xcc, sizeof memory);
  a.crash();
  end(a);
  std::uint64_t restored = 0;
  unsigned pieces = 0;
  for (Result result{VMSRS_AGAIN, 0, 0}; result.status == VMSRS_AGAIN; ++pieces) {
    result = a.call(VMSRS_CALL_USER_COLLECT);
    restored += result.rdx;
  }
  BOOST_TEST(pieces == 2u);  // 512 granules, 256 at a time
  BOOST_TEST(restored == sizeof memory / 16);
  BOOST_TEST(std::memcmp(before, memory, sizeof memory) == 0);
  BOOST_TEST(ledger().record_count == 0u);
  BOOST_TEST(!suppressing());
  BOOST_TEST(info().collected_count == 1u);
  BOOST_TEST(info().collect_restore_count == restored);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(collection_keeps_what_is_done_when_a_page_is_missing) {
  begin(a);
  store(a, 0, 111);
  store(a, VMSRS_PAGE_BYTES, 222);
  a.crash();
  end(a);
  a.memory.set_page(memory, HostMemory::Page::kNotPresent);
  const Result result = a.call(VMSRS_CALL_USER_COLLECT);
  BOOST_TEST(result.status == VMSRS_TOUCH);
  BOOST_TEST(ledger().record_count == 1u);
  BOOST_TEST(suppressing());
  a.memory.touch(result.rdx);
  BOOST_TEST(collect(a) == VMSRS_OK);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(generation_of_a_slot_rises_with_every_user) {
  std::uint64_t before = window().users[0] >> 2;
  for (int i = 0; i < 5; ++i) {
    begin(a);
    if (i % 2 == 0) a.crash();
    bury(a);
    BOOST_TEST(window().users[0] >> 2 == before + 1);
    before = window().users[0] >> 2;
  }
}

// ---- 10: a commit is all or nothing

BOOST_AUTO_TEST_CASE(commit_needs_no_guest_memory) {
  begin(a);
  a.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 0xcc, 1000);
  a.memory.fail_at(1, vmsrs::recovery::MemoryResult::kBadAddress);
  BOOST_TEST(end(a) == VMSRS_OK);
  BOOST_TEST(ledger().record_count == 0u);
  BOOST_TEST(std::memcmp(memory, ledger().regions[0].mirror, sizeof memory) == 0);
}

BOOST_AUTO_TEST_CASE(nested_scopes_commit_at_the_outermost_end) {
  begin(a);
  begin(a);
  store(a, 8, 111);
  end(a);
  BOOST_TEST(mirror(8) != 111u);
  end(a);
  BOOST_TEST(mirror(8) == 111u);
}

// Hole 5: an older record of the same bytes must not come over a commit.
BOOST_AUTO_TEST_CASE(older_writer_finishes_after_the_newer) {
  begin(a);
  begin(b);
  store(a, 8, 111);
  store(b, 8, 222);
  end(b);
  BOOST_TEST(mirror(8) == 222u);
  end(a);
  BOOST_TEST(mirror(8) == 222u);
  BOOST_TEST(word(8) == 222u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(older_writer_finishes_after_the_newer_for_part_of_its_bytes) {
  begin(a);
  begin(b);
  store(a, 8, 0x1111111111111111);
  store(b, 8, 0x22, 1);
  end(b);
  end(a);
  BOOST_TEST(mirror(8) == 0x1111111111111122u);
}

BOOST_AUTO_TEST_CASE(newer_crashed_record_lies_upon_a_commit) {
  begin(a);
  begin(b);
  store(a, 8, 111);
  store(b, 8, 222);
  end(a);
  b.crash();
  BOOST_TEST(load(c, 8) == 111u);
}

// A user may write on both sides of another's record; each byte keeps its order.
BOOST_AUTO_TEST_CASE(user_with_two_records_in_a_chain) {
  begin(a);
  begin(b);
  store(a, 0, 0x11, 1);
  store(b, 0, 0x2222, 2);
  store(a, 1, 0x33, 1);
  store(a, 2, 0x44, 1);
  BOOST_TEST(ledger().record_count == 3u);
  b.crash();
  BOOST_TEST((load(c, 0) & 0xffffff) == 0x443311u);
  bury(b);
  end(a);
  BOOST_TEST((mirror(0) & 0xffffff) == 0x443311u);
  BOOST_TEST(sound());
}

// What a newer store of the same user replaces is not kept: storage does not grow with the stores.
BOOST_AUTO_TEST_CASE(users_who_take_turns_hold_one_record_each) {
  begin(a);
  begin(b);
  for (std::uint64_t i = 0; i < 20; ++i) {
    store(a, 8, i);
    store(b, 8, 100 + i);
  }
  BOOST_TEST(ledger().record_count == 2u);
  b.crash();
  BOOST_TEST(load(c, 8) == 19u);
}

// ---- what wild writes do here: found by the check; mended where a crashed user stored as well

BOOST_AUTO_TEST_CASE(settling_mends_a_wild_write_in_the_same_granule) {
  const std::uint64_t initial = word(8);
  begin(a);
  store(a, 0, 111);
  memory[9] ^= 0xff;
  a.crash();
  (void)load(b, 0);
  BOOST_TEST(word(8) == initial);
}

BOOST_AUTO_TEST_SUITE_END()
