// SPDX-License-Identifier: Apache-2.0
#include "claim_shop.hpp"
#include "support/events.hpp"

// Faults that the processor sees before the thread's kernel does: its user has crashed from then
// on, and its own USER_CRASH, which comes later, counts nothing twice.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

struct Shop : ClaimShop {
  Shop() { watch(true); }
  void watch(bool contained) {
    BOOST_TEST(service.call(VMSRS_CALL_WATCH_FAULTS, contained).status == VMSRS_OK);
  }
  // The thread has opened a scope.
  void begin(ClaimThread& user) {
    BOOST_TEST(user.begin() == VMSRS_OK);
    area(user.slot).depth = 1;
  }
  bool crashed(const ClaimThread& user) {
    return (window().users[user.slot] & 3) == VMSRS_USER_CRASHED;
  }
  bool crashes(ClaimThread& user) {
    user.client.see_fault(VMSRS_FAULT_ARITHMETIC);
    return crashed(user);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(others_have_the_right_bytes_before_the_thread_tells, Shop) {
  const std::uint64_t before = word(128);
  begin(a);
  begin(b);
  (void)a.store_word(0, 128, 1);
  a.client.see_fault(VMSRS_FAULT_ARITHMETIC);
  BOOST_TEST(crashed(a));
  BOOST_TEST(!crashed(b));
  BOOST_TEST(info().faults[VMSRS_FAULT_ARITHMETIC] == 1u);
  BOOST_TEST(b.load_word(0, 128) == before);
  BOOST_TEST(word(128) == before);  // nothing had to be drained
  BOOST_TEST(a.crash(VMSRS_FAULT_ARITHMETIC) == VMSRS_OK);
  BOOST_TEST(info().faults[VMSRS_FAULT_ARITHMETIC] == 1u);
  BOOST_TEST(a.crash(VMSRS_FAULT_WILD) == VMSRS_CRASHED);  // a second one, which is counted
  BOOST_TEST(info().faults[VMSRS_FAULT_WILD] == 1u);
  a.client.see_fault(VMSRS_FAULT_ILLEGAL);  // and one more, of which it tells
  BOOST_TEST(info().faults[VMSRS_FAULT_ILLEGAL] == 0u);
  bury(a);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST((info().mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(sound());
}

// A debugger took the signal away: the thread goes on, and hears of it at its next store.
BOOST_FIXTURE_TEST_CASE(a_thread_that_does_not_tell_hears_of_it, Shop) {
  const std::uint64_t before = word(128);
  begin(a);
  (void)a.store_word(0, 128, 1);
  a.client.see_fault(VMSRS_FAULT_ILLEGAL);
  BOOST_TEST((a.store_word(0, 128, 2) == Access::kCrashed));
  BOOST_TEST(a.hear() == VMSRS_OK);
  bury(a);
  BOOST_TEST(word(128) == before);
  BOOST_TEST(info().faults[VMSRS_FAULT_ILLEGAL] == 1u);
  BOOST_TEST(sound());
}

// The event of the crash waits for what its thread has to say of it, but not for ever.
BOOST_FIXTURE_TEST_CASE(there_is_one_event_of_such_a_crash, Shop) {
  const auto crashes_of = [&] {
    std::vector<vmsrs_event> crashes;
    for (const vmsrs_event& event : take_events(manager, token))
      if (event.type == VMSRS_EVENT_CRASH) crashes.push_back(event);
    return crashes;
  };
  begin(a);
  a.client.see_fault(VMSRS_FAULT_ARITHMETIC);
  BOOST_TEST(crashes_of().empty());
  vmsrs_crash told{};
  told.fault = {VMSRS_FAULT_ARITHMETIC, 33, 0x400010, 0x400010};
  told.trace_count = 1;
  told.trace[0] = 0x400200;
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_CRASH, address_of(&told), 0, 1, 0, 0, VMSRS_CRASH_TRACED)
                 .status == VMSRS_OK);
  std::vector<vmsrs_event> all = crashes_of();
  BOOST_REQUIRE(all.size() == 1u);
  BOOST_TEST(all[0].fault.thread_id == 33u);
  BOOST_TEST(all[0].trace_count == 1u);
  BOOST_TEST(all[0].trace[0] == 0x400200u);
  bury(a);
  BOOST_TEST(crashes_of().empty());
  // Its thread never tells: it is told with the next that is heard of it.
  begin(a);
  a.client.see_fault(VMSRS_FAULT_ILLEGAL);
  BOOST_TEST(a.hear() == VMSRS_OK);
  all = crashes_of();
  BOOST_REQUIRE(all.size() == 1u);
  BOOST_TEST(all[0].fault.kind == unsigned{VMSRS_FAULT_ILLEGAL});
  bury(a);
  begin(a);
  a.client.see_fault(VMSRS_FAULT_ILLEGAL);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_END).status == VMSRS_CRASHED);
  BOOST_TEST(crashes_of().empty());
  BOOST_TEST(a.collect() == VMSRS_OK);
  BOOST_TEST(crashes_of().size() == 1u);
  begin(a);
  a.client.see_fault(VMSRS_FAULT_ILLEGAL);
  (void)manager.call(VMSRS_CALL_MGMT_REAP, token, 0, kProcessId);
  BOOST_TEST(crashes_of().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(within_a_store_others_wait_until_it_is_drained, Shop) {
  const std::uint64_t before = word(128);
  for (const bool hook : {false, true}) {
    begin(a);
    begin(b);
    BOOST_TEST(a.hold(0, 128, 1));
    while (a.held()) (void)a.go_on();
    (hook ? area(a.slot).hook_window : area(a.slot).window) = 1;
    BOOST_TEST(crashes(a));
    BOOST_TEST(b.load_word(0, 128) == before);
    BOOST_TEST(word(128) == 1u);
    area(a.slot).hook_window = area(a.slot).window = 0;
    BOOST_TEST(a.crash(VMSRS_FAULT_ARITHMETIC) == VMSRS_OK);
    BOOST_TEST(b.load_word(0, 128) == before);
    BOOST_TEST(word(128) == before);
    bury(a);
    BOOST_TEST(b.end() == VMSRS_OK);
  }
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(what_is_no_users_fault_changes_nothing, Shop) {
  a.client.see_fault(VMSRS_FAULT_ARITHMETIC);  // no user
  begin(a);
  area(a.slot).depth = 0;  // one in advance, that has not begun
  BOOST_TEST(!crashes(a));
  area(a.slot).depth = 1;
  Client elsewhere(0x200000, 0xa000);  // another process
  elsewhere.see_fault(VMSRS_FAULT_ARITHMETIC);
  BOOST_TEST(!crashed(a));
  BOOST_TEST(info().faults[VMSRS_FAULT_ARITHMETIC] == 0u);
  BOOST_TEST(crashes(a));
  bury(a);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(who_does_not_contain_is_not_watched, Shop) {
  const auto say = [&](vmsrs_server_containment mode) {
    BOOST_TEST(manager.call(VMSRS_CALL_MGMT_CONTAINMENT, token, 0, mode).status == VMSRS_OK);
  };
  begin(a);
  watch(false);
  BOOST_TEST(!crashes(a));
  say(VMSRS_SERVER_OBSERVE);
  watch(true);
  BOOST_TEST(!crashes(a));
  say(VMSRS_SERVER_OFF);
  BOOST_TEST(!crashes(a));
  say(VMSRS_SERVER_OWN);
  BOOST_TEST(crashes(a));
  bury(a);
  watch(false);
  say(VMSRS_SERVER_CONTAIN);  // the operator's word counts before its own
  begin(a);
  BOOST_TEST(crashes(a));
  bury(a);
  BOOST_TEST(service.call(VMSRS_CALL_WATCH_FAULTS, 2).status == VMSRS_BAD_ARGUMENT);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(who_has_not_said_so_is_not_watched) {
  ClaimShop shop;
  BOOST_TEST(
      shop.manager.call(VMSRS_CALL_MGMT_CONTAINMENT, shop.token, 0, VMSRS_SERVER_CONTAIN).status ==
      VMSRS_OK);
  BOOST_TEST(shop.a.begin() == VMSRS_OK);
  shop.area(shop.a.slot).depth = 1;
  shop.a.client.see_fault(VMSRS_FAULT_ARITHMETIC);
  BOOST_TEST((shop.window().users[shop.a.slot] & 3) == VMSRS_USER_ACTIVE);
  BOOST_TEST(shop.a.end() == VMSRS_OK);
}
