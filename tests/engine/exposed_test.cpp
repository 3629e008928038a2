// SPDX-License-Identifier: Apache-2.0
#include "claim_shop.hpp"
#include "fixture.hpp"

// Exposed reads: whom a sampled user reads from is noted, and nobody is called exposed that is not.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

struct Shop : ClaimShop {
  Shop() { b.sampled = true; }
  void begin_both() {
    BOOST_TEST(a.begin() == VMSRS_OK);
    BOOST_TEST(b.begin() == VMSRS_OK);
  }
  vmsrs_user_info user(std::uint64_t slot) {
    vmsrs_user_info users[16] = {};
    const Result list =
        manager.call(VMSRS_CALL_MGMT_USERS, token, 0, 0, address_of(users), sizeof users);
    for (std::uint64_t i = 0; i < list.rdx; ++i)
      if (users[i].slot == slot) return users[i];
    return {};
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(who_read_from_a_user_that_crashes, Shop) {
  begin_both();
  BOOST_TEST(c.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 666);
  BOOST_TEST(b.load_word(0, 0) == 666u);
  BOOST_TEST(c.load_word(0, 0) == 666u);  // it is not sampled
  BOOST_TEST(!b.exposed());
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.exposed());
  BOOST_TEST(!c.exposed());
  BOOST_TEST(info().exposed_user_count == 1u);
  BOOST_TEST(user(b.slot).exposed == 1u);
  BOOST_TEST(user(a.slot).exposed == 0u);
  bury(a);
  BOOST_TEST(b.exposed());  // that stays
  BOOST_TEST(b.end(true) == VMSRS_OK);
  BOOST_TEST(!b.exposed());  // its thread's next user has read nothing
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(c.end() == VMSRS_OK);
  BOOST_TEST(info().exposed_user_count == 1u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(who_is_declared_crashed, Shop) {
  begin_both();
  (void)a.store_word(0, 0, 666);
  (void)b.load_word(0, 0);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(b.exposed());
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
}

BOOST_FIXTURE_TEST_CASE(what_is_no_exposed_read, Shop) {
  begin_both();
  (void)b.load_word(0, 0);  // before the store
  (void)a.store_word(0, 0, 666);
  (void)b.load_word(0, 8);  // of its granule, and not its bytes
  (void)b.store_word(0, 64, 1);
  (void)b.load_word(0, 64);  // its own
  BOOST_TEST(a.crash() == VMSRS_OK);
  (void)b.load_word(0, 0);  // restored
  BOOST_TEST(!b.exposed());
  bury(a);

  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 2);
  (void)b.load_word(0, 0);
  BOOST_TEST(a.end(true) == VMSRS_OK);  // it was right to read that
  (void)a.store_word(0, 128, 666);
  c.sampled = true;
  BOOST_TEST(c.begin() == VMSRS_OK);
  (void)c.load_word(0, 128);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(!b.exposed());
  BOOST_TEST(c.exposed());
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(c.end() == VMSRS_OK);
  BOOST_TEST(info().exposed_user_count == 1u);
}

// The mask says that the bytes are the owner's before they are.
BOOST_FIXTURE_TEST_CASE(in_the_middle_of_a_store, Shop) {
  begin_both();
  const std::uint64_t before = word(8);
  (void)a.store_word(0, 0, 666);
  claim(0, 0).mask |= 0xff00;
  area(a.slot).window = 1;
  BOOST_TEST(b.load_word(0, 8) == before);
  area(a.slot).window = 0;
  claim(0, 0).mask &= ~0xff00ull;
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(!b.exposed());
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
}

// Whether its owner is within a store cannot be seen.
BOOST_FIXTURE_TEST_CASE(a_window_out_of_reach, Shop) {
  begin_both();
  (void)a.store_word(0, 0, 666);
  b.client.memory.set_page(&area(a.slot), HostMemory::Page::kNotPresent);
  BOOST_TEST(b.load_word(0, 0) == 666u);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(!b.exposed());
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
}

BOOST_FIXTURE_TEST_CASE(of_contended_bytes_the_last_writer_counts, Shop) {
  for (const bool last_crashes : {false, true}) {
    begin_both();
    BOOST_TEST(c.begin() == VMSRS_OK);
    (void)a.store_word(0, 0, 1);
    (void)c.store_word(0, 0, 2);
    BOOST_TEST(b.load_word(0, 0) == 2u);
    BOOST_TEST((last_crashes ? c : a).crash() == VMSRS_OK);
    BOOST_TEST(b.exposed() == last_crashes);
    bury(last_crashes ? c : a);
    BOOST_TEST((last_crashes ? a : c).end() == VMSRS_OK);
    BOOST_TEST(b.end() == VMSRS_OK);
  }
  BOOST_TEST(sound());
}

// Frozen: its owner's stores will be calls, and this one was made.
BOOST_FIXTURE_TEST_CASE(of_a_frozen_granule, Shop) {
  begin_both();
  (void)a.store_word(0, 0, 666);
  const std::uint64_t value = 1;
  BOOST_TEST(c.begin() == VMSRS_OK);
  BOOST_TEST(c.store(regions[0].begin + 8, &value, 8, 0, false).status == VMSRS_DRAIN);
  BOOST_TEST(b.load_word(0, 0) == 666u);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.exposed());
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(c.end() == VMSRS_OK);
}

// The last four are remembered.
BOOST_FIXTURE_TEST_CASE(it_is_sampling, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  std::vector<ClaimThread> writers;
  for (std::uint64_t i = 0; i < 5; ++i) {
    ClaimThread& writer = writers.emplace_back(*this, 0x20000 + 0x1000 * i);
    BOOST_TEST(writer.begin() == VMSRS_OK);
    (void)writer.store_word(0, 64 * i, 666);
    for (int again = 0; again < 3; ++again) (void)b.load_word(0, 64 * i);
  }
  BOOST_TEST(writers[0].crash() == VMSRS_OK);
  BOOST_TEST(!b.exposed());
  BOOST_TEST(writers[1].crash() == VMSRS_OK);
  BOOST_TEST(b.exposed());
  BOOST_TEST(writers[2].crash() == VMSRS_OK);
  BOOST_TEST(info().exposed_user_count == 1u);  // a user counts once
  for (ClaimThread& writer : writers)
    if (&writer < &writers[3])
      bury(writer);
    else
      BOOST_TEST(writer.end() == VMSRS_OK);
  BOOST_TEST(b.end() == VMSRS_OK);
}

// Who has finished by then, or has crashed itself.
BOOST_FIXTURE_TEST_CASE(who_is_no_normal_user_any_more, Shop) {
  enum class Fate { kFinished, kCrashed, kFollowed };
  for (const Fate fate : {Fate::kFinished, Fate::kCrashed, Fate::kFollowed}) {
    begin_both();
    (void)a.store_word(0, 0, 666);
    (void)b.load_word(0, 0);
    if (fate == Fate::kCrashed)
      BOOST_TEST(b.crash() == VMSRS_OK);
    else
      BOOST_TEST(b.end(fate == Fate::kFollowed) == VMSRS_OK);
    BOOST_TEST(a.crash() == VMSRS_OK);
    BOOST_TEST(info().exposed_user_count == 0u);
    bury(a);
    if (fate == Fate::kCrashed) bury(b);
    if (fate == Fate::kFollowed) BOOST_TEST(b.end() == VMSRS_OK);
  }
}

// What it reads of its own takes no place among them.
BOOST_FIXTURE_TEST_CASE(it_reads_its_own, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  std::vector<ClaimThread> writers;
  for (std::uint64_t i = 0; i < 4; ++i) {
    ClaimThread& writer = writers.emplace_back(*this, 0x20000 + 0x1000 * i);
    BOOST_TEST(writer.begin() == VMSRS_OK);
    (void)writer.store_word(0, 64 * i, 666);
    (void)b.load_word(0, 64 * i);
  }
  (void)b.store_word(0, 8, 1);  // contended
  BOOST_TEST(kind(0) == VMSRS_TAG_CONTENDED);
  BOOST_TEST(b.load_word(0, 8) == 1u);
  BOOST_TEST(writers[0].crash() == VMSRS_OK);
  BOOST_TEST(b.exposed());
  bury(writers[0]);
  for (std::size_t i = 1; i < writers.size(); ++i) BOOST_TEST(writers[i].end() == VMSRS_OK);
  BOOST_TEST(b.end() == VMSRS_OK);
}

// A crashed user's store does not hide whose value is read.
BOOST_FIXTURE_TEST_CASE(below_what_a_crashed_user_wrote, Shop) {
  begin_both();
  BOOST_TEST(c.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  (void)c.store_word(0, 0, 666);
  BOOST_TEST(c.crash() == VMSRS_OK);
  BOOST_TEST(b.load_word(0, 0) == 1u);
  BOOST_TEST(!b.exposed());
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(b.exposed());
  bury(c);
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
}

// There the call alone makes the difference.
BOOST_FIXTURE_TEST_CASE(where_every_store_traps, OneServer<>) {
  const auto sampled = [&](Client& user, std::size_t at) {
    return user.call(VMSRS_CALL_LOAD_SAMPLED, address_of(memory + at), 8).rdx;
  };
  const auto exposed = [](Client& user) { return user.call(VMSRS_CALL_USER_EXPOSED).rdx == 1; };
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(begin(c) == VMSRS_OK);
  BOOST_TEST(store(a, 0, 666) == VMSRS_OK);
  BOOST_TEST(sampled(b, 0) == 666u);
  BOOST_TEST(sampled(c, 8) != 666u);  // the granule's other word
  BOOST_TEST(store(a, 28, 666) == VMSRS_OK);
  BOOST_TEST(store(c, 44, 1) == VMSRS_OK);
  BOOST_TEST(a.crash().status == VMSRS_OK);
  BOOST_TEST(exposed(b));
  BOOST_TEST(!exposed(c));
  bury(a);
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(store(a, 24, 666) == VMSRS_OK);
  (void)sampled(c, 28);  // half of it a's
  BOOST_TEST(a.crash().status == VMSRS_OK);
  BOOST_TEST(exposed(c));
  bury(a);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(end(c) == VMSRS_OK);
  BOOST_TEST(info().exposed_user_count == 2u);
  BOOST_TEST(b.call(VMSRS_CALL_USER_EXPOSED).status == VMSRS_NO_USER);
  BOOST_TEST(sound());
}

// Of a word in two granules.
BOOST_FIXTURE_TEST_CASE(of_two_writers, OneServer<>) {
  for (const bool first_crashes : {false, true}) {
    for (Client* const user : {&a, &b, &c}) BOOST_TEST(begin(*user) == VMSRS_OK);
    BOOST_TEST(store(a, 56, 666) == VMSRS_OK);
    BOOST_TEST(store(b, 64, 666) == VMSRS_OK);
    (void)c.call(VMSRS_CALL_LOAD_SAMPLED, address_of(memory + 60), 8);
    Client& crashing = first_crashes ? a : b;
    BOOST_TEST(crashing.crash().status == VMSRS_OK);
    BOOST_TEST(c.call(VMSRS_CALL_USER_EXPOSED).rdx == 1u);
    bury(crashing);
    BOOST_TEST(end(first_crashes ? b : a) == VMSRS_OK);
    BOOST_TEST(end(c) == VMSRS_OK);
  }
  BOOST_TEST(info().exposed_user_count == 2u);
}
