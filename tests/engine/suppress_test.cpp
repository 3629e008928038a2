// SPDX-License-Identifier: Apache-2.0
#include "claim_shop.hpp"
#include "fixture.hpp"

// Users that somebody else declares crashed (docs/protocol.md): nothing of theirs may be restored
// until it is known that no store of theirs is under way. Numbers are those of the holes.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

struct Shop : ClaimShop {
  std::uint64_t mode() { return __atomic_load_n(&window().status.mode, __ATOMIC_ACQUIRE); }
  // T_STORE of a word, whatever its answer.
  guest::CallResult trap(ClaimThread& user, std::size_t at, std::uint64_t ticket = 0) {
    const std::uint64_t value = 0xb;
    return user.store(regions[0].begin + at, &value, sizeof value, ticket, false);
  }
};

}  // namespace

// 4, 31: a load restores nothing, and a store of the crashed user that lands afterwards is not
// seen.
BOOST_FIXTURE_TEST_CASE(until_it_is_drained_loads_show_the_mirror, Shop) {
  const std::uint64_t before = word(128);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 128, 1);
  BOOST_TEST(b.load_word(0, 128) == 1u);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST((mode() & VMSRS_MODE_SUPPRESSION) != 0u);
  BOOST_TEST(b.load_word(0, 128) == before);
  BOOST_TEST(word(128) == 1u);
  BOOST_TEST(kind(2) == VMSRS_TAG_OWN);
  BOOST_TEST(a.store_late(0, 128, 2));
  BOOST_TEST(word(128) == 2u);
  BOOST_TEST(b.load_word(0, 128) == before);
  serve();
  BOOST_TEST(b.load_word(0, 128) == before);
  BOOST_TEST(word(128) == before);
  BOOST_TEST((a.store_word(0, 128, 3) == Access::kCrashed));
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(info().faults[VMSRS_FAULT_OPERATOR] == 1u);
  BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(sound());
}

// 4, 30: a store waits.
BOOST_FIXTURE_TEST_CASE(until_it_is_drained_stores_wait, Shop) {
  const std::uint64_t before = word(136);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 128, 1);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  const guest::CallResult wait = trap(b, 128);
  BOOST_TEST(wait.status == VMSRS_WAIT);
  BOOST_TEST(wait.first == a.slot);
  BOOST_TEST(a.store_late(0, 136, 2));
  while_waiting = [&] { serve(); };
  BOOST_TEST((b.store_word(0, 128, 3) == Access::kDone));
  BOOST_TEST(b.waits == 1u);
  BOOST_TEST(word(136) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(mirror(128) == 3u);
  BOOST_TEST(word(136) == before);
  BOOST_TEST(sound());
}

// 27: who saw a granule unowned before the last claim of the crashed user must not see the same
// mode once it is unowned again.
BOOST_FIXTURE_TEST_CASE(the_mode_moves_between_drained_and_restored, Shop) {
  const std::uint64_t before = word(64);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  const std::uint64_t seen = mode();
  const std::uint64_t tag = claim(0, 1).tag;
  BOOST_TEST(a.store_late(0, 64, 1));
  BOOST_TEST(b.load_word(0, 64) == before);
  BOOST_TEST(mode() == seen);
  serve();
  BOOST_TEST(b.load_word(0, 64) == before);
  BOOST_TEST(claim(0, 1).tag == tag);
  BOOST_TEST(mode() > seen);
  BOOST_TEST((mode() & VMSRS_MODE_SUPPRESSION) != 0u);
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(sound());
}

// 22: the report carries the crash's epoch.
BOOST_FIXTURE_TEST_CASE(a_late_report_does_not_count_for_the_slots_next_user, Shop) {
  BOOST_TEST(b.begin() == VMSRS_OK);
  std::uint64_t epochs[2];
  for (std::uint64_t& epoch : epochs) {
    BOOST_TEST(a.begin() == VMSRS_OK);
    (void)a.store_word(0, 0, 1);
    const guest::CallResult declared = b.declare(a.slot, generation(a.slot));
    BOOST_TEST(declared.status == VMSRS_OK);
    epoch = declared.first;
    BOOST_TEST(epoch == window().crash_epochs[a.slot]);
    if (&epoch == epochs) bury(a);
  }
  BOOST_TEST(epochs[1] > epochs[0]);
  BOOST_TEST(b.report_drained(a.slot, epochs[0]) == VMSRS_WRONG_STATE);
  BOOST_TEST(trap(b, 0).status == VMSRS_WAIT);
  const std::uint64_t seen = mode();
  BOOST_TEST(b.report_drained(a.slot, epochs[1]) == VMSRS_OK);
  BOOST_TEST(mode() > seen);
  BOOST_TEST(trap(b, 0).status == VMSRS_REPEAT);
  const std::uint64_t drained = mode();
  BOOST_TEST(b.report_drained(a.slot, epochs[1]) == VMSRS_OK);  // again
  BOOST_TEST(mode() == drained);
  bury(a);
  BOOST_TEST(b.report_drained(a.slot, epochs[1]) == VMSRS_WRONG_STATE);
  BOOST_TEST(b.report_drained(VMSRS_MAX_USERS, epochs[1]) == VMSRS_NOT_FOUND);
  BOOST_TEST(info().faults[VMSRS_FAULT_CHECK] == 2u);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(sound());
}

// If nobody else does it: its own thread, wherever it comes to next.
BOOST_FIXTURE_TEST_CASE(its_own_thread_drains_it, Shop) {
  const auto suppressed = [&] {
    BOOST_TEST(a.begin() == VMSRS_OK);
    (void)a.store_word(0, 0, 1);
    BOOST_TEST(suppress(a.slot) == VMSRS_OK);
    BOOST_TEST(trap(b, 0).status == VMSRS_WAIT);
  };
  const auto gone = [&] {
    BOOST_TEST(trap(b, 0).status == VMSRS_REPEAT);
    BOOST_TEST(mirror(0) == word(0));
  };
  BOOST_TEST(b.begin() == VMSRS_OK);
  suppressed();
  BOOST_TEST(a.end() == VMSRS_CRASHED);
  gone();
  BOOST_TEST(a.collect() == VMSRS_OK);

  suppressed();
  BOOST_TEST(a.hear() == VMSRS_OK);
  gone();
  BOOST_TEST(a.hear() == VMSRS_CRASHED);
  bury(a);

  suppressed();
  BOOST_TEST(a.crash() == VMSRS_OK);  // the first that its thread hears of it
  gone();
  BOOST_TEST(a.crash() == VMSRS_CRASHED);
  bury(a);

  suppressed();
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_STUCK).status == VMSRS_OK);
  gone();
  bury(a);
  BOOST_TEST(info().faults[VMSRS_FAULT_OPERATOR] == 4u);
  BOOST_TEST(info().faults[VMSRS_FAULT_WILD] == 2u);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(a_frozen_granule_of_its, Shop) {
  for (const bool damaged : {false, true}) {
    const std::uint64_t before = word(0);
    BOOST_TEST(a.begin() == VMSRS_OK);
    BOOST_TEST(b.begin() == VMSRS_OK);
    (void)a.store_word(0, 0, 1);
    const guest::CallResult frozen = trap(b, 8);
    BOOST_TEST(frozen.status == VMSRS_DRAIN);
    BOOST_TEST(suppress(a.slot) == VMSRS_OK);
    BOOST_TEST(trap(b, 8, frozen.second).status == VMSRS_WAIT);
    if (damaged) claim(0, 0).tag = 0x1234;
    BOOST_TEST(b.load_word(0, 0) == before);
    BOOST_TEST(word(0) == 1u);
    *reinterpret_cast<std::uint64_t*>(region(0)) = 2;  // S_data of a store that found OWN
    BOOST_TEST(b.load_word(0, 0) == before);
    serve();
    BOOST_TEST(b.load_word(0, 0) == before);
    BOOST_TEST((b.store_word(0, 8, 5) == Access::kDone));
    BOOST_TEST(b.end() == VMSRS_OK);
    bury(a);
    BOOST_TEST(word(0) == before);
    BOOST_TEST(mirror(8) == 5u);
    BOOST_TEST(sound());
  }
}

// All its stores to a contended granule are calls: nothing has to be waited for.
BOOST_FIXTURE_TEST_CASE(a_contended_granule_is_restored_at_once, Shop) {
  const std::uint64_t before = word(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  (void)b.store_word(0, 8, 2);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(b.load_word(0, 0) == before);
  BOOST_TEST(b.load_word(0, 8) == 2u);
  BOOST_TEST((b.store_word(0, 0, 3) == Access::kDone));
  BOOST_TEST(b.waits == 0u);
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(mirror(0) == 3u);
  BOOST_TEST(mirror(8) == 2u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(who_may_be_named, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  const std::uint64_t slot = a.slot, now = generation(slot);
  BOOST_TEST(suppress(slot, now + 1) == VMSRS_NOT_FOUND);
  BOOST_TEST(suppress(slot + 1, 0) == VMSRS_NOT_FOUND);
  BOOST_TEST(suppress(VMSRS_MAX_USERS, 0) == VMSRS_NOT_FOUND);
  BOOST_TEST(b.declare(slot, now + 1).status == VMSRS_NOT_FOUND);
  BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(suppress(slot, now) == VMSRS_OK);
  const std::uint64_t seen = mode();
  BOOST_TEST(suppress(slot, now) == VMSRS_OK);  // again: nothing changes
  BOOST_TEST(b.declare(slot, now).first == window().crash_epochs[slot]);
  BOOST_TEST(mode() == seen);
  BOOST_TEST(info().faults[VMSRS_FAULT_OPERATOR] == 1u);
  BOOST_TEST(info().crashed_users == 1u);
  BOOST_TEST(info().active_users == 0u);
  bury(a);
  BOOST_TEST(suppress(slot, now) == VMSRS_NOT_FOUND);  // too late
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(suppress(slot, now + 1) == VMSRS_NOT_FOUND);  // it has finished
  BOOST_TEST(mirror(0) == 1u);
  BOOST_TEST(sound());
}

// A user of a thread that has it in advance is collected when the thread begins it.
BOOST_FIXTURE_TEST_CASE(between_two_scopes_of_its_thread, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  BOOST_TEST(a.end(true) == VMSRS_OK);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(a.begin() == VMSRS_CRASHED);
  BOOST_TEST(a.collect() == VMSRS_OK);
  BOOST_TEST(a.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 2);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(mirror(0) == 2u);
  BOOST_TEST(sound());
}

// Its thread alone knows how deep it is in its scopes.
BOOST_FIXTURE_TEST_CASE(who_hears_of_it_says_how_deep_it_is, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(a.hear(3) == VMSRS_WRONG_STATE);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(a.hear(3) == VMSRS_OK);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_BEGIN).rsi == 4u);
  for (std::uint64_t left = 4; left-- > 0;) {
    BOOST_TEST(a.client.call(VMSRS_CALL_USER_COLLECT).status == VMSRS_WRONG_STATE);
    const Result end = a.client.call(VMSRS_CALL_USER_END);
    BOOST_TEST(end.status == VMSRS_CRASHED);
    BOOST_TEST(end.rdx == left);
  }
  BOOST_TEST(a.collect() == VMSRS_OK);
  BOOST_TEST(info().faults[VMSRS_FAULT_NONE] == 0u);
  BOOST_TEST(sound());
}

// Without what its thread says of its write set, a granule whose tag is damaged is not found.
BOOST_FIXTURE_TEST_CASE(its_write_set_is_told_at_its_end, Shop) {
  for (const bool hears : {false, true}) {
    const std::uint64_t before = word(0);
    BOOST_TEST(a.begin() == VMSRS_OK);
    (void)a.store_word(0, 0, 1);
    claim(0, 0).tag = 0x1234;
    BOOST_TEST(suppress(a.slot) == VMSRS_OK);
    if (hears) BOOST_TEST(a.hear() == VMSRS_OK);
    bury(a);
    BOOST_TEST(word(0) == before);
    BOOST_TEST(sound());
  }
}

// An operator's collection waits until the user is drained, and needs no end of it.
BOOST_FIXTURE_TEST_CASE(collected_ahead_of_its_end, Shop) {
  const std::uint64_t before = word(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  (void)a.store_word(0, 0, 1);
  (void)b.store_word(0, 8, 2);  // contended: records
  (void)a.store_word(0, 128, 1);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, a.slot).status == VMSRS_AGAIN);
  const Result first = service.call(VMSRS_CALL_SERVICE);
  BOOST_TEST(first.status == VMSRS_DRAIN);
  BOOST_TEST(first.rdx == a.slot);
  BOOST_TEST(word(0) == 1u);
  serve();
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, a.slot).status == VMSRS_OK);
  BOOST_TEST(word(0) == before);
  BOOST_TEST(word(128) == mirror(128));
  BOOST_TEST(b.end() == VMSRS_OK);
  bury(a);
  BOOST_TEST(sound());
}

// Where every store is a call, the next one is refused, and what there is goes at once.
BOOST_FIXTURE_TEST_CASE(where_every_store_traps, OneServer<>) {
  const std::uint64_t before = word(0);
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(store(a, 0, 1) == VMSRS_OK);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_SUPPRESS, token, 0, 0, window().users[0] >> 2).status ==
             VMSRS_OK);
  BOOST_TEST(load(b, 0) == before);
  BOOST_TEST(store(b, 8, 2) == VMSRS_OK);
  BOOST_TEST(store(a, 0, 3) == VMSRS_CRASHED);
  const Result drain = service.call(VMSRS_CALL_SERVICE);
  BOOST_TEST(drain.status == VMSRS_DRAIN);
  BOOST_TEST(drain.rdx == 0u);
  BOOST_TEST(end(a) == VMSRS_CRASHED);
  BOOST_TEST(collect(a) == VMSRS_OK);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(word(0) == before);
  BOOST_TEST(word(8) == 2u);
  BOOST_TEST(sound());
}
