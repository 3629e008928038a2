// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "claim_shop.hpp"
#include "fixture.hpp"

// A user that does not come out of a store: nobody waits for it for ever, nobody sees what it
// stores late, and all is right when it comes back.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

struct Shop : ClaimShop {
  explicit Shop(bool eager = false) : ClaimShop(eager) {
    patience = 3;
    BOOST_TEST(a.begin() == VMSRS_OK);
    BOOST_TEST(b.begin() == VMSRS_OK);
  }
  void hold(ClaimThread& user) { area(user.slot).window = 1; }
  void let_go(ClaimThread& user) { area(user.slot).window = 0; }
  std::uint64_t state_of(const ClaimThread& user) { return window().users[user.slot] & 3; }
  void refuse(std::size_t at) {
    BOOST_TEST((b.store_word(0, at, 5) == Access::kRefused));
    BOOST_TEST(b.status == VMSRS_OWNER_STUCK);
  }
  void end_all() {
    BOOST_TEST(b.end() == VMSRS_OK);
    bury(a);
    BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
    BOOST_TEST(info().stuck_users == 0u);
    BOOST_TEST(sound());
  }
};

struct EagerShop : Shop {
  EagerShop() : Shop(true) {}
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_store_is_refused_and_a_load_gives_the_mirror, Shop) {
  const std::uint64_t before[] = {word(128), word(136)};
  (void)a.store_word(0, 128, 666);
  hold(a);
  refuse(128);
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  BOOST_TEST(info().stuck_users == 1u);
  BOOST_TEST(info().crashed_users == 1u);
  BOOST_TEST(info().faults[VMSRS_FAULT_CHECK] == 1u);
  BOOST_TEST(b.load_word(0, 128) == before[0]);
  BOOST_TEST((b.store_word(0, 256, 5) == Access::kDone));  // elsewhere all is well
  refuse(136);
  BOOST_TEST(b.abandoned == 1u);
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status != VMSRS_DRAIN);
  serve();
  BOOST_TEST(sound());

  // It comes back, and stores.
  claim(0, 2).mask |= 0xff00;
  *reinterpret_cast<std::uint64_t*>(region(0) + 136) = 667;  // S_data of a store that found OWN
  BOOST_TEST(b.load_word(0, 136) == before[1]);
  refuse(136);
  let_go(a);
  BOOST_TEST((b.store_word(0, 136, 6) == Access::kDone));
  BOOST_TEST(word(128) == before[0]);
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_CRASHED});
  BOOST_TEST((a.store_word(0, 128, 668) == Access::kCrashed));
  end_all();
  BOOST_TEST(word(128) == before[0]);
  BOOST_TEST(mirror(136) == 6u);
  BOOST_TEST(mirror(256) == 5u);
}

// It was past its look at a granule that nobody owned.
BOOST_FIXTURE_TEST_CASE(a_claim_that_comes_late, Shop) {
  const std::uint64_t before = word(64);
  (void)a.store_word(0, 0, 666);
  hold(a);
  refuse(0);
  BOOST_TEST(a.store_late(0, 64, 667));
  BOOST_TEST(word(64) == 667u);
  BOOST_TEST(b.load_word(0, 64) == before);
  std::uint64_t committed = 0;
  BOOST_TEST((b.load_committed(0, 64, &committed, 8) == Access::kDone));
  BOOST_TEST(committed == before);
  refuse(64);
  let_go(a);
  BOOST_TEST((b.store_word(0, 72, 5) == Access::kDone));
  BOOST_TEST(word(64) == before);
  end_all();
}

// First declared crashed, then waited for.
BOOST_FIXTURE_TEST_CASE(of_a_user_declared_crashed, Shop) {
  const std::uint64_t before = word(0);
  (void)a.store_word(0, 0, 666);
  hold(a);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  refuse(0);
  BOOST_TEST(b.waits > 0u);
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  BOOST_TEST(info().faults[VMSRS_FAULT_OPERATOR] == 1u);
  BOOST_TEST(info().faults[VMSRS_FAULT_CHECK] == 0u);
  let_go(a);
  BOOST_TEST(a.hear() == VMSRS_OK);  // its own thread says it
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_CRASHED});
  BOOST_TEST(b.load_word(0, 0) == before);
  BOOST_TEST(word(0) == before);
  end_all();
}

// The service thread gives up too, and has time for others.
BOOST_FIXTURE_TEST_CASE(the_service_thread_goes_on, Shop) {
  (void)a.store_word(0, 0, 666);
  hold(a);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  region(1)[100] ^= 0xff;
  serve();
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  BOOST_TEST(region(1)[100] == static_cast<std::uint8_t>(mirror(96, 1) >> 32));
  let_go(a);
  end_all();
}

// Nor do slots come round meanwhile: it may have looked at one of their old tags.
BOOST_FIXTURE_TEST_CASE(a_slot_that_rests, Shop) {
  constexpr std::uint64_t kLast = VMSRS_TAG_GENERATION_MASK;
  const std::uint64_t slot = b.slot + 1;
  recovery::EngineProbe::ledger(0).users[static_cast<recovery::Slot>(slot)].generation = kLast - 1;
  recovery::EngineProbe::publish(0);
  BOOST_TEST(c.begin() == VMSRS_OK);
  BOOST_TEST(c.slot == slot);
  BOOST_TEST((c.store_word(0, 128, 7) == Access::kDone));
  (void)a.store_word(0, 0, 666);
  hold(a);
  BOOST_TEST(c.end() == VMSRS_OK);
  region(1)[100] ^= 0xff;
  serve();
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  BOOST_TEST(generation(slot) == kLast);
  BOOST_TEST(kind(2) == VMSRS_TAG_UNOWNED);  // what can be done is
  BOOST_TEST(region(1)[100] == static_cast<std::uint8_t>(mirror(96, 1) >> 32));
  const std::uint64_t asked = window().status.service_request;
  let_go(a);
  BOOST_TEST(a.hear() == VMSRS_OK);
  BOOST_TEST(window().status.service_request > asked);
  serve();
  BOOST_TEST(generation(slot) == kLast + 1);
  end_all();
}

// An operator's wish to have all collected must wait, too.
BOOST_FIXTURE_TEST_CASE(collected_by_an_operator, Shop) {
  const std::uint64_t before = word(0);
  const auto collect_all = [&] {
    return manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull).status;
  };
  (void)a.store_word(0, 0, 666);
  hold(a);
  refuse(0);
  BOOST_TEST(collect_all() == VMSRS_AGAIN);
  serve();
  BOOST_TEST(collect_all() == VMSRS_AGAIN);
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
  refuse(0);
  serve();
  const std::uint64_t asked = window().status.service_request;
  let_go(a);
  BOOST_TEST(a.hear() == VMSRS_OK);
  BOOST_TEST(window().status.service_request > asked);
  serve();
  BOOST_TEST(collect_all() == VMSRS_OK);
  BOOST_TEST(word(0) == before);
  end_all();
}

// So must it if the user has no records, but claims only, which it may still be adding to.
BOOST_FIXTURE_TEST_CASE(claims_collected_by_an_operator, Shop) {
  const std::uint64_t before[] = {word(0), word(64)};
  const auto collect = [&] {
    return manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, a.slot).status;
  };
  (void)a.store_word(0, 0, 666);
  hold(a);
  BOOST_TEST(suppress(a.slot) == VMSRS_OK);
  BOOST_TEST(collect() == VMSRS_AGAIN);
  serve();
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  BOOST_TEST(collect() == VMSRS_AGAIN);
  BOOST_TEST(a.store_late(0, 64, 667));
  let_go(a);
  BOOST_TEST(a.hear() == VMSRS_OK);
  serve();
  BOOST_TEST(collect() == VMSRS_OK);
  BOOST_TEST(word(0) == before[0]);
  BOOST_TEST(word(64) == before[1]);
  end_all();
}

// Whose a granule with a damaged tag is cannot be told while somebody may be within a store to it.
BOOST_FIXTURE_TEST_CASE(a_damaged_tag_is_not_repaired_meanwhile, Shop) {
  (void)a.store_word(0, 0, 666);
  hold(a);
  refuse(0);
  claim(0, 4).tag = 0x1234;
  const std::uint64_t drains = b.drains;
  refuse(256);
  BOOST_TEST(b.drains == drains);
  BOOST_TEST(b.load_word(0, 256) == mirror(256));
  let_go(a);
  BOOST_TEST((b.store_word(0, 256, 5) == Access::kDone));
  end_all();
  BOOST_TEST(mirror(256) == 5u);
}

// All windows are waited for.
BOOST_FIXTURE_TEST_CASE(a_damaged_tag_and_a_stuck_user, Shop) {
  (void)a.store_word(0, 0, 666);
  hold(a);
  claim(0, 4).tag = 0x1234;
  refuse(256);
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_STUCK});
  let_go(a);
  BOOST_TEST((b.store_word(0, 256, 5) == Access::kDone));
  end_all();
}

// A repair that had to be given up leaves a tag that is as good as damaged.
BOOST_FIXTURE_TEST_CASE(a_repair_that_is_not_ended, Shop) {
  const std::uint64_t before[] = {word(256), word(512)};
  (void)b.store_word(0, 256, 666);
  (void)a.store_word(0, 0, 666);
  hold(a);
  for (const std::size_t granule : {4u, 8u}) {
    claim(0, granule).tag = 0x1234;
    refuse(64 * granule);
  }
  BOOST_TEST(kind(4) == VMSRS_TAG_REPAIRING);
  // Who owns it says so only in its write set, and that is damaged as well.
  *reinterpret_cast<std::uint64_t*>(&area(b.slot) + 1) ^= 1;
  BOOST_TEST(b.crash() == VMSRS_OK);
  bury(b);
  BOOST_TEST(word(256) == before[0]);
  // A sweep.
  claim(0, 8).tag = vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_REPAIRING, 0, 0), 8);
  region(0)[512] ^= 1;
  (void)manager.call(VMSRS_CALL_MGMT_SCRUB, token, 0, ~0ull);
  serve();
  BOOST_TEST(word(512) == before[1]);
  let_go(a);
  BOOST_TEST(b.begin() == VMSRS_OK);
  end_all();
}

// Whom it waited for has died with its process. What that one stored goes before the mode is
// normal, not when a sweep comes by.
BOOST_AUTO_TEST_CASE(a_repair_and_a_death) {
  constexpr std::size_t kLast = 2 * VMSRS_MAX_RANGE_BYTES - 64;
  ClaimServer server({{kLast + 64, 64}}, 4096, 2);
  server.patience = 3;
  ClaimThread a(server, 0xa000, 1), b(server, 0xa000);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  const std::uint64_t before = b.load_word(0, kLast);
  (void)a.store_word(0, kLast, 666);
  BOOST_TEST(a.hold(0, kLast + 8, 667));
  server.claim(0, kLast / 64).tag = 0x1234;
  BOOST_TEST((b.store_word(0, kLast, 5) == Access::kRefused));
  BOOST_TEST(b.status == VMSRS_OWNER_STUCK);
  BOOST_TEST((a.go_on() == ClaimThread::Went::kOn));
  BOOST_TEST((a.go_on() == ClaimThread::Went::kStored));
  BOOST_TEST(server.lose(1) == VMSRS_OK);
  while ((server.info().mode & VMSRS_MODE_SUPPRESSION) != 0)
    BOOST_TEST(server.service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN);
  BOOST_TEST(b.load_word(0, kLast) == before);
  BOOST_TEST((b.store_word(0, kLast, 6) == Access::kDone));
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(server.sound());
}

BOOST_FIXTURE_TEST_CASE(in_an_eager_region, EagerShop) {
  const std::uint64_t before = word(0);
  (void)a.store_word(0, 0, 666);
  hold(a);
  refuse(0);
  serve();
  BOOST_TEST(word(0) == 666u);  // it may still be storing
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
  BOOST_TEST(a.store_late(0, 64, 667));
  let_go(a);
  BOOST_TEST(a.hear() == VMSRS_OK);
  BOOST_TEST(word(0) == before);
  BOOST_TEST(word(64) == mirror(64));
  end_all();
}

// docs/invariants.md
BOOST_FIXTURE_TEST_CASE(what_checks_say_of_it, Shop) {
  const auto violated = [&] {
    std::vector<int> found;
    const vmsrs_check_report report = check();
    for (int i = 0; i < VMSRS_CHECK_COUNT; ++i)
      if (report.results[i].verdict != VMSRS_VERDICT_OK) found.push_back(i);
    return found;
  };
  (void)a.store_word(0, 0, 666);
  (void)a.store_word(0, 64, 666);
  hold(a);
  refuse(0);
  BOOST_TEST(a.store_late(0, 128, 667));
  claim(0, 5).tag = 0x1234;
  refuse(320);
  serve();  // the sweep
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
  BOOST_TEST(kind(1) == VMSRS_TAG_OWN);
  BOOST_TEST(kind(2) == VMSRS_TAG_OWN);
  BOOST_TEST(violated() == std::vector<int>{});
  // What is nobody's is looked at meanwhile.
  region(0)[192] ^= 1;
  BOOST_TEST(violated() == std::vector<int>{VMSRS_CHECK_MIRROR});
  region(0)[192] ^= 1;
  // There must be suppression, and the window must say of it what is true.
  recovery::EngineProbe::mode(0) ^= VMSRS_MODE_SUPPRESSION;
  recovery::EngineProbe::publish(0);
  BOOST_TEST(violated() == std::vector<int>{VMSRS_CHECK_USERS});
  recovery::EngineProbe::mode(0) ^= VMSRS_MODE_SUPPRESSION;
  recovery::EngineProbe::publish(0);
  std::uint64_t& shown = machine.platform.window(0)->users[a.slot];
  shown ^= VMSRS_USER_STUCK ^ VMSRS_USER_CRASHED;
  BOOST_TEST(violated() == std::vector<int>{VMSRS_CHECK_WINDOWS});
  shown ^= VMSRS_USER_STUCK ^ VMSRS_USER_CRASHED;
  std::uint64_t& count = recovery::EngineProbe::value(recovery::EngineProbe::stuck_count(0));
  ++count;
  BOOST_TEST(violated() == std::vector<int>{VMSRS_CHECK_ACCOUNTING});
  --count;
  let_go(a);
  end_all();
}

BOOST_FIXTURE_TEST_CASE(who_may_be_abandoned, Shop) {
  const std::uint64_t generation_now = generation(a.slot);
  const auto abandon = [&](std::uint64_t slot, std::uint64_t generation) {
    return b.client.call(VMSRS_CALL_USER_ABANDON, slot, generation);
  };
  BOOST_TEST(abandon(a.slot, generation_now + 1).status == VMSRS_NOT_FOUND);
  BOOST_TEST(abandon(VMSRS_MAX_USERS, 0).status == VMSRS_NOT_FOUND);
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(abandon(a.slot, generation_now).status ==
             VMSRS_OK);  // it is here, so it stores nothing
  BOOST_TEST(state_of(a) == std::uint64_t{VMSRS_USER_CRASHED});
  end_all();
  BOOST_TEST(abandon(a.slot, generation_now).status == VMSRS_NOT_FOUND);
}
