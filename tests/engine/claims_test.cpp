// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <utility>

#include "claim_shop.hpp"

// Regions with claims (docs/protocol.md): what costs no call, and what each trap does.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;
using Shop = ClaimShop;

BOOST_FIXTURE_TEST_CASE(stores_and_loads_of_one_user_cost_no_call, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  for (std::uint64_t i = 0; i < 20; ++i) BOOST_TEST((a.store_word(0, 64 * i, i) == Access::kDone));
  for (std::uint64_t i = 0; i < 20; ++i) BOOST_TEST(a.load_word(0, 64 * i) == i);
  BOOST_TEST(a.traps == 0u);
  BOOST_TEST(mirror(64) != 1u);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(64) == 1u);
  BOOST_TEST(mirror(64 * 19) == 19u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(the_next_user_of_a_thread_needs_no_call_to_begin, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    BOOST_TEST((a.store_word(0, 0, i) == Access::kDone));
    BOOST_TEST(a.end(true) == VMSRS_OK);
    BOOST_TEST(mirror(0) == i);
  }
  BOOST_TEST(a.traps == 0u);
  BOOST_TEST(info().finished_count == 5u);
  BOOST_TEST((a.store_word(0, 0, 99) == Access::kDone));
  BOOST_TEST(a.crash() == VMSRS_OK);
  bury(a);
  BOOST_TEST(word(0) == 5u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_crashed_users_bytes_are_restored_for_who_reads_them, Shop) {
  const std::uint64_t before = word(128);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 128, 1) == Access::kDone));
  BOOST_TEST(b.load_word(0, 128) == 1u);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(word(128) == 1u);
  BOOST_TEST(b.load_word(0, 128) == before);
  BOOST_TEST(word(128) == before);
  BOOST_TEST((a.store_word(0, 128, 2) == Access::kCrashed));
  BOOST_TEST((a.store_word(0, 192, 2) == Access::kCrashed));
  BOOST_TEST(word(128) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(info().demand_restore_count == 1u);
  BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(collection_restores_what_nobody_read, Shop) {
  const std::uint64_t before = word(256);
  BOOST_TEST(a.begin() == VMSRS_OK);
  for (std::size_t i = 0; i < 10; ++i) (void)a.store_word(0, 64 * i, 1);
  BOOST_TEST(a.crash() == VMSRS_OK);
  bury(a);
  BOOST_TEST(word(256) == before);
  BOOST_TEST(info().collect_restore_count == 10u);
  BOOST_TEST(kind(4) == VMSRS_TAG_UNOWNED);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(two_users_share_a_granule_byte_by_byte, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  const std::uint64_t before = word(16);
  BOOST_TEST((a.store_word(0, 0, 0xa) == Access::kDone));
  BOOST_TEST((b.store_word(0, 8, 0xb) == Access::kDone));
  BOOST_TEST(b.drains == 1u);
  BOOST_TEST(kind(0) == VMSRS_TAG_CONTENDED);
  BOOST_TEST(info().contended_granules == 1u);
  BOOST_TEST((a.store_word(0, 16, 0xaa) == Access::kDone));  // traps: contended
  BOOST_TEST(a.traps == 1u);
  BOOST_TEST(sound());
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.load_word(0, 8) == 0xbu);
  BOOST_TEST(b.load_word(0, 16) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(mirror(8) == 0xbu);
  BOOST_TEST(mirror(0) != 0xau);
  BOOST_TEST(word(16) == before);
  BOOST_TEST(c.begin() == VMSRS_OK);
  BOOST_TEST((c.store_word(0, 0, 0xc) == Access::kDone));
  BOOST_TEST(c.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 0xcu);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(an_owner_that_finishes_thaws_a_frozen_granule, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 0xa) == Access::kDone));
  const std::uint64_t value = 0xb;
  const guest::CallResult frozen = b.store(regions[0].begin, &value, 8, 0, false);
  BOOST_TEST(frozen.status == VMSRS_DRAIN);
  BOOST_TEST(frozen.first == a.slot);
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
  BOOST_TEST(sound());
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(kind(0) == VMSRS_TAG_UNOWNED);
  BOOST_TEST(mirror(0) == 0xau);
  // The ticket is of a freeze that is over.
  BOOST_TEST(b.store(regions[0].begin, &value, 8, frozen.second, false).status == VMSRS_REPEAT);
  BOOST_TEST((b.store_word(0, 0, 0xb) == Access::kDone));
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 0xbu);
  BOOST_TEST(sound());
}

// Hole 10: a drain of an earlier freeze is not taken for the present one's.
BOOST_FIXTURE_TEST_CASE(each_freeze_has_a_ticket_of_its_own, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  const std::uint64_t value = 0xb;
  const std::uint64_t at = regions[0].begin;
  (void)a.store_word(0, 0, 1);
  const guest::CallResult first = b.store(at, &value, 8, 0, false);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 2);
  BOOST_TEST(b.store(at, &value, 8, 0, false).status == VMSRS_DRAIN);
  BOOST_TEST(b.store(at, &value, 8, first.second, false).status == VMSRS_DRAIN);
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
}

BOOST_FIXTURE_TEST_CASE(a_full_write_set_is_no_limit, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  const std::size_t capacity = (area_bytes - sizeof(vmsrs_user_area)) / 8;
  const std::size_t granules = 4096 / 8;  // of region 1
  BOOST_REQUIRE_GT(granules, capacity);
  for (std::size_t i = 0; i < granules; ++i)
    BOOST_TEST((a.store_word(1, 8 * i, i) == Access::kDone));
  BOOST_TEST(a.traps == granules - capacity);
  BOOST_TEST(a.end() == VMSRS_OK);
  for (std::size_t i = 0; i < granules; ++i) BOOST_TEST(mirror(8 * i, 1) == i);
  BOOST_TEST(sound());
  BOOST_TEST(b.begin() == VMSRS_OK);
  for (std::size_t i = 0; i < granules; ++i) (void)b.store_word(1, 8 * i, 7);
  BOOST_TEST(b.crash() == VMSRS_OK);
  bury(b);
  for (std::size_t i = 0; i < granules; ++i) BOOST_TEST(word(8 * i, 1) == i);
  BOOST_TEST(sound());
}

// What a crashed user claimed is free for the caller, who would have it recorded.
BOOST_FIXTURE_TEST_CASE(a_full_write_set_and_full_storage, Shop) {
  const std::uint64_t before = word(0, 1);
  const std::uint64_t value = 5;
  const std::uint64_t at = address_of(region(1));
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(1, 0, 666);
  BOOST_TEST(a.crash() == VMSRS_OK);
  (void)manager.define(token, "shop", secret_of(1), info().storage_used_bytes);
  BOOST_TEST(b.store(at, &value, 8, 0, true).status == VMSRS_NO_STORAGE);
  BOOST_TEST(b.load_word(1, 0) == before);
  BOOST_TEST(sound());
  (void)manager.define(token, "shop", secret_of(1));
  BOOST_TEST(b.store(at, &value, 8, 0, true).status == VMSRS_OK);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(mirror(0, 1) == value);
  BOOST_TEST(sound());
}

// More pages than stay mapped through a call: the write set is taken piece by piece.
BOOST_FIXTURE_TEST_CASE(a_large_write_set_is_committed_in_pieces, Shop) {
  a.client.memory.set_mapped_pages(16);
  BOOST_TEST(a.begin() == VMSRS_OK);
  for (std::size_t i = 0; i < 500; ++i) (void)a.store_word(1, 8 * i, i);
  BOOST_TEST(a.end() == VMSRS_OK);
  for (std::size_t i = 0; i < 500; ++i) BOOST_TEST(mirror(8 * i, 1) == i);
  BOOST_TEST(sound());
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST((b.store_word(1, 8, 5) == Access::kDone));  // its tag still says contended
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(8, 1) == 5u);
}

// What was taken of a granule confirms nothing any more, though the user's end is still going on.
BOOST_FIXTURE_TEST_CASE(a_granule_that_was_taken_is_not_its_users, Shop) {
  a.client.memory.set_mapped_pages(16);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(c.begin() == VMSRS_OK);
  BOOST_TEST((c.store_word(0, 0, 0xc) == Access::kDone));
  for (std::size_t i = 0; i < 500; ++i) (void)a.store_word(1, 8 * i, i);
  BOOST_TEST(c.crash() == VMSRS_OK);  // from now on loads are calls
  bool between = false;
  a.before_more = [&] {
    if (std::exchange(between, true)) return;
    BOOST_TEST(b.begin() == VMSRS_OK);
    BOOST_TEST((b.store_word(1, 8, 0xb) == Access::kDone));  // every byte: nothing of a's is left
    BOOST_TEST(b.end() == VMSRS_OK);
    BOOST_TEST(b.begin() == VMSRS_OK);
    claim(1, 1).tag = 0x5a;
    region(1)[8] ^= 0xff;
    BOOST_TEST(b.load_word(1, 8) == 0xbu);
    BOOST_TEST(b.end() == VMSRS_OK);
  };
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(between);
  BOOST_TEST(mirror(8, 1) == 0xbu);
  BOOST_TEST(mirror(16, 1) == 2u);
  bury(c);
  BOOST_TEST(sound());
}

// ---- scribbles over the words that lie in the server's memory

BOOST_FIXTURE_TEST_CASE(a_scribbled_write_set_is_found_again_by_the_tags, Shop) {
  const std::uint64_t before = word(8, 1);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  for (std::size_t i = 0; i < 20; ++i) (void)a.store_word(1, 8 * i, 1);
  (void)b.store_word(0, 0, 2);
  std::memset(&area(a.slot) + 1, 0x5a, 20 * 8);
  std::memset(&area(b.slot) + 1, 0, 8);
  BOOST_TEST(a.crash() == VMSRS_OK);
  bury(a);
  for (std::size_t i = 0; i < 20; ++i) BOOST_TEST(kind(i, 1) == VMSRS_TAG_UNOWNED);
  BOOST_TEST(word(8, 1) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 2u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_write_set_that_names_another_granule_is_not_believed, Shop) {
  for (const bool crashes : {false, true}) {
    const std::uint64_t before = word(64 * 4);
    BOOST_TEST(b.begin() == VMSRS_OK);
    (void)b.store_word(0, 64 * 3, 33);
    (void)b.store_word(0, 64 * 4, 44);
    auto* const entries = reinterpret_cast<std::uint64_t*>(&area(b.slot) + 1);
    entries[1] += 5;  // granule 9, which is nobody's
    if (crashes) {
      BOOST_TEST(b.crash() == VMSRS_OK);
      bury(b);
      BOOST_TEST(word(64 * 4) == before);
    } else {
      BOOST_TEST(b.end() == VMSRS_OK);
      BOOST_TEST(mirror(64 * 4) == 44u);
    }
    BOOST_TEST(sound());
  }
}

BOOST_FIXTURE_TEST_CASE(an_emptied_write_set_does_not_pass_for_an_empty_one, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)b.store_word(0, 0, 2);
  std::memset(&area(b.slot), 0, area_bytes);
  BOOST_TEST(b.end() == VMSRS_OK);  // found by the tags
  BOOST_TEST(mirror(0) == 2u);
  BOOST_TEST(sound());
}

// Which bytes were its own cannot be said any more: it is told that it failed.
BOOST_FIXTURE_TEST_CASE(a_write_set_and_tags_that_are_gone_are_a_crash, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)b.store_word(0, 0, 2);
  std::memset(&area(b.slot), 0, area_bytes);
  claim(0, 0).tag = 0;
  BOOST_TEST(b.end() == VMSRS_CRASHED);
  BOOST_TEST(b.collect() == VMSRS_OK);
  BOOST_TEST(mirror(0) != 2u);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(a.load_word(0, 0) == mirror(0));
  BOOST_TEST((a.store_word(0, 0, 3) == Access::kDone));  // repairs the tag
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(word(0) == 3u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_scribbled_mask_is_noticed_at_the_commit, Shop) {
  const std::uint64_t before = word(0);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)b.store_word(0, 0, 2);
  (void)b.store_word(0, 64, 2);
  claim(0, 0).mask = 0;
  BOOST_TEST(b.end() == VMSRS_CRASHED);
  BOOST_TEST(b.collect() == VMSRS_OK);
  BOOST_TEST(word(0) == before);
  BOOST_TEST(info().faults[VMSRS_FAULT_CHECK] == 1u);
  BOOST_TEST(sound());
}

// What it says afterwards has as many bytes as the user wrote.
BOOST_FIXTURE_TEST_CASE(a_scribbled_mask_of_as_many_bytes, Shop) {
  constexpr std::uint64_t kScribbled = 0xa5a5a5a5a5a5a5a5;
  for (const std::uint64_t scribbled : {kScribbled, std::uint64_t{0xffffffff}}) {
    const std::uint64_t before = word(0), other = word(64);
    BOOST_TEST(b.begin() == VMSRS_OK);
    for (const std::size_t at : {32, 40, 48, 56}) (void)b.store_word(0, at, 2);
    for (const std::size_t at : {64, 72, 80, 88}) (void)b.store_word(0, at, 2);
    claim(0, 0).mask = scribbled;
    if (scribbled != kScribbled) claim(0, 1).mask = ~scribbled;  // the masks have changed places
    BOOST_TEST(b.end() == VMSRS_CRASHED);
    BOOST_TEST(b.collect() == VMSRS_OK);
    BOOST_TEST(word(0) == before);
    BOOST_TEST(word(64) == other);
  }
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_scribbled_tag_goes_back_to_who_confirmed_it, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  for (const std::uint64_t damage : {0ull, ~0ull, 0x1234ull}) {
    claim(0, 0).tag = damage;
    BOOST_TEST(b.load_word(0, 0) == 1u);
    BOOST_TEST((a.store_word(0, 8, 2) == Access::kDone));
    BOOST_TEST(kind(0) == VMSRS_TAG_OWN);
  }
  claim(0, 0).tag = 0;
  BOOST_TEST((b.store_word(0, 16, 3) == Access::kDone));
  BOOST_TEST(kind(0) == VMSRS_TAG_CONTENDED);
  claim(0, 0).tag = 0;
  BOOST_TEST((a.store_word(0, 24, 4) == Access::kDone));
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(b.crash() == VMSRS_OK);
  bury(b);
  BOOST_TEST(word(0) == 1u);
  BOOST_TEST(word(8) == 2u);
  BOOST_TEST(word(24) == 4u);
  BOOST_TEST(word(16) == mirror(16));
  BOOST_TEST(word(16) != 3u);
  BOOST_TEST(sound());
}

// Else what a wild store left beside the user's bytes would be committed.
BOOST_FIXTURE_TEST_CASE(noted_masks_that_are_scribbled_are_not_believed, Shop) {
  const std::uint64_t before = word(8);
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  std::memset(region(0) + 8, 0xee, 8);
  a.before_end = [&] { reinterpret_cast<vmsrs_written*>(a.buffer.data())->mask = 0xff00; };
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 1u);
  BOOST_TEST(mirror(8) == before);
  BOOST_TEST(word(8) == before);
  BOOST_TEST(sound());
}

// The user noted its masks; before its end is there, another has stored to the granule.
BOOST_FIXTURE_TEST_CASE(a_granule_may_be_frozen_or_contended_before_the_end, Shop) {
  const std::uint64_t value = 2;
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  (void)a.store_word(0, 64, 1);
  a.before_end = [&] {
    BOOST_TEST(b.store(regions[0].begin + 8, &value, 8, 0, false).status == VMSRS_DRAIN);
    BOOST_TEST((b.store_word(0, 64, value) == Access::kDone));
    BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
    BOOST_TEST(kind(1) == VMSRS_TAG_CONTENDED);
  };
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 1u);
  BOOST_TEST(mirror(64) == 1u);
  BOOST_TEST(word(64) == 2u);
  BOOST_TEST(kind(0) == VMSRS_TAG_UNOWNED);
  BOOST_TEST(sound());
  BOOST_TEST(b.crash() == VMSRS_OK);
  bury(b);
  BOOST_TEST(word(64) == 1u);
  BOOST_TEST(sound());
}

// A tag damaged so that it passes for nobody's: another user claims the granule.
BOOST_FIXTURE_TEST_CASE(a_granule_that_another_claimed_is_not_committed, Shop) {
  const std::uint64_t before = word(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  claim(0, 0).tag = vmsrs_tag(VMSRS_TAG_UNOWNED, 0);
  BOOST_TEST((b.store_word(0, 8, 2) == Access::kDone));
  BOOST_TEST(a.end() == VMSRS_CRASHED);
  BOOST_TEST(a.collect() == VMSRS_OK);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == before);
  BOOST_TEST(mirror(8) == 2u);
  BOOST_TEST(sound());
}

// Right check bits over a body that no engine writes: taken for nobody's, the granule's chain would
// be lost.
BOOST_FIXTURE_TEST_CASE(a_plain_tag_with_stray_bits_is_damage, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  const std::uint64_t before = word(16);
  (void)a.store_word(0, 0, 1);
  (void)b.store_word(0, 8, 2);
  for (const std::uint64_t stray :
       {std::uint64_t{3} << VMSRS_TAG_SLOT_SHIFT, std::uint64_t{9} << VMSRS_TAG_GENERATION_SHIFT}) {
    BOOST_TEST(kind(0) == VMSRS_TAG_CONTENDED);
    const std::uint64_t traps = a.traps;
    claim(0, 0).tag = vmsrs_tag(VMSRS_TAG_UNOWNED | stray, 0);
    BOOST_TEST(kind(0) == VMSRS_TAG_DAMAGED);
    BOOST_TEST((a.store_word(0, 16, 3) == Access::kDone));
    BOOST_TEST(a.traps > traps);
  }
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.load_word(0, 16) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(mirror(8) == 2u);
  BOOST_TEST(word(16) == before);
  BOOST_TEST(sound());
}

// Hole 19: a claim may have been made, and not been confirmed yet, when its tag was damaged.
BOOST_FIXTURE_TEST_CASE(a_damaged_tag_is_repaired_only_once_nobody_is_within_a_store, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  claim(0, 0).tag = 0x1234;
  const std::uint64_t value = 5;
  const std::uint64_t at = regions[0].begin;
  const guest::CallResult first = b.store(at, &value, 8, 0, false);
  BOOST_TEST(first.status == VMSRS_DRAIN);
  BOOST_TEST(first.first == VMSRS_EVERY_USER);
  BOOST_TEST(kind(0) == VMSRS_TAG_REPAIRING);
  BOOST_TEST(b.store(at, &value, 8, 0, false).status == VMSRS_DRAIN);
  BOOST_TEST(b.store(at, &value, 8, first.second + 1000, false).status == VMSRS_DRAIN);
  BOOST_TEST(kind(0) == VMSRS_TAG_REPAIRING);
  BOOST_TEST(b.store(at, &value, 8, first.second, false).status == VMSRS_REPEAT);
  BOOST_TEST(kind(0) == VMSRS_TAG_UNOWNED);
}

BOOST_FIXTURE_TEST_CASE(a_scribbled_tag_of_a_crashed_user_hides_nothing, Shop) {
  const std::uint64_t before = word(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  claim(0, 0).tag = 0;
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.load_word(0, 0) == before);
  bury(a);
  BOOST_TEST(word(0) == before);
  BOOST_TEST(b.load_word(0, 0) == before);
  BOOST_TEST((b.store_word(0, 0, 2) == Access::kDone));
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 2u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_commit_takes_a_granule_whose_tag_was_scribbled, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  (void)a.store_word(0, 64, 1);
  claim(0, 0).tag = 0;
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 1u);
  BOOST_TEST(kind(0) == VMSRS_TAG_UNOWNED);
  BOOST_TEST(sound());
}

// A wild store into a granule that the user owns: the next sweep restores what it did not store to.
BOOST_FIXTURE_TEST_CASE(bytes_outside_the_mask_are_not_committed, Shop) {
  const std::uint64_t before = word(8);
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  std::memset(region(0) + 8, 0xee, 8);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(8) == before);
  BOOST_TEST(mirror(0) == 1u);
  (void)manager.call(VMSRS_CALL_MGMT_SCRUB, token, 0, ~0ull);
  serve();
  BOOST_TEST(word(8) == before);
  BOOST_TEST(sound());
}

// The sweep at a crash passes over granules that have owners.
BOOST_FIXTURE_TEST_CASE(bytes_outside_the_mask_go_back_if_somebody_crashed_meanwhile, Shop) {
  const std::uint64_t before = word(8);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  std::memset(region(0) + 8, 0xee, 8);
  BOOST_TEST(b.crash() == VMSRS_OK);
  serve();
  bury(b);
  BOOST_TEST(word(8) != before);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(word(8) == before);
  BOOST_TEST(word(0) == 1u);
  BOOST_TEST(sound());
}
