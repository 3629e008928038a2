// SPDX-License-Identifier: Apache-2.0
#include "claim_shop.hpp"
#include "fixture.hpp"

// Users that are no thread's for a while, and go on in another one.
using namespace vmsrs;
using namespace vmsrs::test;

namespace {

struct Suspending : OneServer<> {
  static vmsrs_status suspend(Client& user) { return user.call(VMSRS_CALL_USER_SUSPEND, 7).status; }
  std::uint64_t generation(std::uint64_t slot) { return window().users[slot] >> 2; }
  Result resume(Client& by, std::uint64_t slot) {
    return by.call(VMSRS_CALL_USER_RESUME, slot, generation(slot));
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(suspended, Suspending)

BOOST_AUTO_TEST_CASE(goes_on_in_another_thread) {
  begin(a);
  store(a, 8, 111);
  BOOST_TEST(suspend(a) == VMSRS_OK);
  BOOST_TEST(store(a, 8, 666) == VMSRS_NO_USER);
  BOOST_TEST(end(a) == VMSRS_NO_USER);
  BOOST_TEST(begin(a) == VMSRS_OK);  // another one
  store(a, 64, 222);
  BOOST_TEST(end(a) == VMSRS_OK);
  BOOST_TEST(mirror(64) == 222u);
  BOOST_TEST(mirror(8) != 111u);
  const Result resumed = resume(b, 0);
  BOOST_TEST(resumed.status == VMSRS_OK);
  BOOST_TEST(resumed.rdx == 0u);
  BOOST_TEST(resumed.rsi == (generation(0) << 2 | VMSRS_USER_ACTIVE));
  store(b, 16, 333);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(mirror(8) == 111u);
  BOOST_TEST(mirror(16) == 333u);
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(crashes_in_its_second_thread) {
  const std::uint64_t first = word(8), second = word(16);
  begin(a);
  store(a, 8, 111);
  suspend(a);
  resume(b, 0);
  store(b, 16, 333);
  b.crash();
  BOOST_TEST(load(a, 8) == first);
  BOOST_TEST(load(a, 16) == second);
  bury(b);
  BOOST_TEST(word(8) == first);
  BOOST_TEST(word(16) == second);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(is_declared_crashed_meanwhile) {
  const std::uint64_t before = word(8);
  begin(a);
  store(a, 8, 111);
  suspend(a);
  BOOST_TEST(c.call(VMSRS_CALL_USER_DECLARE, 0, generation(0)).status == VMSRS_OK);
  serve();
  BOOST_TEST(load(c, 8) == before);
  BOOST_TEST(suppressing());
  const Result resumed = resume(b, 0);
  BOOST_TEST(resumed.status == VMSRS_OK);
  BOOST_TEST((resumed.rsi & 3) == VMSRS_USER_CRASHED);
  BOOST_TEST(store(b, 8, 222) == VMSRS_CRASHED);
  bury(b);
  BOOST_TEST(!suppressing());
  BOOST_TEST(word(8) == before);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(crashed_ones_are_not) {
  begin(a);
  store(a, 8, 111);
  a.crash();
  BOOST_TEST(suspend(a) == VMSRS_CRASHED);
  bury(a);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(nor_scopes_within_others_nor_readers) {
  BOOST_TEST(suspend(a) == VMSRS_NO_USER);
  begin(a);
  begin(a);
  BOOST_TEST(suspend(a) == VMSRS_WRONG_STATE);
  BOOST_TEST(end(a) == VMSRS_OK);
  BOOST_TEST(suspend(a) == VMSRS_OK);
  BOOST_TEST(b.call(VMSRS_CALL_USER_BEGIN, 7, VMSRS_USER_READER).status == VMSRS_OK);
  BOOST_TEST(suspend(b) == VMSRS_WRONG_STATE);
}

BOOST_AUTO_TEST_CASE(who_may_not_be_resumed) {
  begin(a);
  const auto refused = [&](Client& by, std::uint64_t slot, std::uint64_t generation) {
    return by.call(VMSRS_CALL_USER_RESUME, slot, generation).status;
  };
  BOOST_TEST(refused(b, 0, generation(0)) == VMSRS_NOT_FOUND);  // it runs
  suspend(a);
  BOOST_TEST(refused(b, 0, generation(0) + 1) == VMSRS_NOT_FOUND);
  BOOST_TEST(refused(b, 1, generation(1)) == VMSRS_NOT_FOUND);
  BOOST_TEST(refused(b, VMSRS_MAX_USERS, 0) == VMSRS_NOT_FOUND);
  BOOST_TEST(refused(b, ~0ull, generation(0)) == VMSRS_NOT_FOUND);
  begin(b);
  BOOST_TEST(refused(b, 0, generation(0)) == VMSRS_USER_EXISTS);
  end(b);
  BOOST_TEST(resume(b, 0).status == VMSRS_OK);
  BOOST_TEST(refused(c, 0, generation(0)) == VMSRS_NOT_FOUND);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(its_process_ends) {
  begin(a);
  store(a, 8, 111);
  suspend(a);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_BUSY);
  BOOST_TEST(manager.reap(token, 0, kServerProcess).status == VMSRS_OK);
  BOOST_TEST((window().users[0] & 3) == VMSRS_USER_FREE);
  BOOST_TEST(info().active_users == 0u);
}

// As many as there are slots, none of them a thread's.
BOOST_AUTO_TEST_CASE(all_users) {
  for (std::uint64_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    BOOST_TEST(begin(a) == VMSRS_OK);
    BOOST_TEST(suspend(a) == VMSRS_OK);
  }
  BOOST_TEST(begin(a) == VMSRS_NO_SLOT);
  for (std::uint64_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    BOOST_TEST(resume(b, i).status == VMSRS_OK);
    BOOST_TEST(store(b, 8, i) == VMSRS_OK);
    BOOST_TEST(end(b) == VMSRS_OK);
  }
  BOOST_TEST(mirror(8) == VMSRS_MAX_USERS - 1u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_SUITE_END()

// With claims: a granule of a suspended user's is contended as any other's, and nobody waits for
// its window.
BOOST_FIXTURE_TEST_CASE(suspended_with_claims, ClaimShop) {
  const std::uint64_t before = word(0);
  bool crashed = true;
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 1) == guest::Access::kDone));
  BOOST_TEST(a.suspend() == VMSRS_OK);
  BOOST_TEST((b.store_word(0, 8, 2) == guest::Access::kDone));
  BOOST_TEST((kind(0) == VMSRS_TAG_CONTENDED));
  BOOST_TEST(b.waits == 0u);
  BOOST_TEST(a.resume(crashed) == VMSRS_OK);
  BOOST_TEST(!crashed);
  BOOST_TEST((a.store_word(0, 64, 3) == guest::Access::kDone));
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 1u);
  BOOST_TEST(mirror(64) == 3u);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(mirror(8) == 2u);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 128, 4) == guest::Access::kDone));
  BOOST_TEST(a.suspend() == VMSRS_OK);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  serve();
  BOOST_TEST(c.load_word(0, 128) != 4u);
  BOOST_TEST(a.resume(crashed) == VMSRS_OK);
  BOOST_TEST(crashed);
  BOOST_TEST(a.hear(1) == VMSRS_OK);
  bury(a);
  BOOST_TEST(word(0) != before);
  BOOST_TEST(sound());
}
