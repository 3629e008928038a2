// SPDX-License-Identifier: Apache-2.0
#include "support/events.hpp"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "fixture.hpp"

// What has happened, as management reads it.
using namespace vmsrs;
using namespace vmsrs::test;

namespace {

using Types = std::vector<unsigned>;

struct Shop : OneServer<8> {
  std::vector<vmsrs_event> take() { return take_events(manager, token); }
  std::vector<vmsrs_event> from(std::uint64_t cursor) {
    return events_from(manager, token, cursor);
  }
  vmsrs_status safe(std::uint64_t sequence) { return acknowledge(manager, token, sequence); }

  // USER_CRASH with all that a thread can say.
  static vmsrs_status crash(Client& user, const vmsrs_crash& told) {
    Result result{VMSRS_AGAIN, 0, 0};
    while (result.status == VMSRS_AGAIN)
      result = user.call(VMSRS_CALL_USER_CRASH, address_of(&told), 0, 0, 0, 0, VMSRS_CRASH_TRACED);
    return result.status;
  }
  static vmsrs_crash told(const std::string& label = "") {
    vmsrs_crash crash{};
    crash.fault = {VMSRS_FAULT_NULL, 77, 0x18, 0x401234};
    crash.trace_count = 3;
    for (std::uint32_t i = 0; i < VMSRS_TRACE_FRAMES; ++i) crash.trace[i] = 0x402000 + i;
    crash.label_bytes = static_cast<std::uint32_t>(label.size());
    label.copy(reinterpret_cast<char*>(crash.label_text), label.size());
    return crash;
  }
  // Two events more, and two when it is collected.
  void crash_once(Client& user) {
    (void)begin(user);
    (void)user.crash();
    bury(user);
  }
};

Types types_of(const std::vector<vmsrs_event>& events) {
  Types types;
  for (const vmsrs_event& event : events) types.push_back(event.type);
  return types;
}

std::string label_of(const vmsrs_event& event) {
  return {reinterpret_cast<const char*>(event.label_text), event.label_bytes};
}

std::string server_name(unsigned number) { return "server" + std::to_string(number); }

bool same(const vmsrs_event& one, const vmsrs_event& other) {
  return std::memcmp(&one, &other, sizeof one) == 0;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(events, Shop)

BOOST_AUTO_TEST_CASE(of_a_crash_from_its_fault_to_its_collection) {
  const std::vector<vmsrs_event> before = take();
  BOOST_TEST(types_of(before) == (Types{VMSRS_EVENT_ATTACHED}));
  BOOST_TEST(before[0].process_id == kServerProcess);
  BOOST_TEST(before[0].slot == VMSRS_EVENT_NO_USER);

  begin(a);
  begin(b);
  store(a, 0, 1);
  store(a, 64, 1);
  machine.platform.advance_ns(1000);
  BOOST_TEST(crash(a, told("session 4711")) == VMSRS_OK);
  BOOST_TEST(crash(a, told()) == VMSRS_CRASHED);  // a further fault of it is no further crash
  store(a, 8, 1);                                 // dropped
  (void)load(b, 0);                               // restored on demand
  machine.platform.advance_ns(5'000'000'000);
  BOOST_TEST(a.call(VMSRS_CALL_USER_END, 0, VMSRS_USER_UNWOUND).status == VMSRS_CRASHED);
  BOOST_TEST(collect(a) == VMSRS_OK);
  end(b);

  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) ==
             (Types{VMSRS_EVENT_SUPPRESSION_BEGAN, VMSRS_EVENT_CRASH, VMSRS_EVENT_UNWOUND,
                    VMSRS_EVENT_COLLECTED, VMSRS_EVENT_SUPPRESSION_ENDED}));
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_TEST(all[i].sequence == 2 + i);
    BOOST_TEST(all[i].boot == before[0].boot);
    BOOST_TEST(all[i].server == 0u);
    if (i < 4) {
      BOOST_TEST(all[i].slot == 0u);
      BOOST_TEST(all[i].generation == window().users[0] / 4 - 1);
      BOOST_TEST(all[i].label == 7u);
      BOOST_TEST(label_of(all[i]) == "session 4711");
      BOOST_TEST(all[i].process_id == kServerProcess);
      BOOST_TEST(all[i].fault.kind == unsigned{VMSRS_FAULT_NULL});
      BOOST_TEST(all[i].fault.thread_id == 77u);
      BOOST_TEST(all[i].fault.address == 0x18u);
      BOOST_TEST(all[i].fault.instruction == 0x401234u);
      BOOST_TEST(all[i].fault_count == (i < 2 ? 1u : 2u));
    }
  }
  const vmsrs_event &began = all[0], &crashed = all[1], &collected = all[3], &ended = all[4];
  BOOST_TEST(crashed.trace_count == 3u);
  BOOST_TEST(crashed.trace[2] == 0x402002u);
  BOOST_TEST(crashed.trace[3] == 0u);
  BOOST_TEST(crashed.time_ns == began.time_ns);
  BOOST_TEST(collected.time_ns == crashed.time_ns + collected.duration_ns);
  BOOST_TEST(collected.duration_ns >= 5'000'000'000u);
  BOOST_TEST(collected.duration_ns < 100'000'000'000u);
  BOOST_TEST(collected.suppressed_store_count == 1u);
  BOOST_TEST(collected.count == 2u);
  BOOST_TEST(ended.slot == VMSRS_EVENT_NO_USER);
  BOOST_TEST(ended.count == 1u);
  BOOST_TEST(ended.suppressed_store_count == 1u);
  BOOST_TEST(ended.restored[VMSRS_RESTORED_DEMAND] == 1u);
  BOOST_TEST(ended.restored[VMSRS_RESTORED_COLLECTION] == 1u);
  BOOST_TEST(ended.restored[VMSRS_RESTORED_CRASH] == 0u);
  BOOST_TEST(ended.duration_ns >= collected.duration_ns);
  vmsrs_stats stats{};
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats);
  BOOST_TEST(ended.time_ns <= stats.uptime_ns);
  BOOST_TEST(ended.time_ns + 100'000'000'000 > stats.uptime_ns);
}

BOOST_AUTO_TEST_CASE(suppression_is_the_servers) {
  (void)take();
  for (Client* user : {&a, &b}) {
    begin(*user);
    (void)user->crash();
  }
  for (Client* user : {&b, &a}) bury(*user);
  crash_once(a);
  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) ==
             (Types{VMSRS_EVENT_SUPPRESSION_BEGAN, VMSRS_EVENT_CRASH, VMSRS_EVENT_CRASH,
                    VMSRS_EVENT_COLLECTED, VMSRS_EVENT_COLLECTED, VMSRS_EVENT_SUPPRESSION_ENDED,
                    VMSRS_EVENT_SUPPRESSION_BEGAN, VMSRS_EVENT_CRASH, VMSRS_EVENT_COLLECTED,
                    VMSRS_EVENT_SUPPRESSION_ENDED}));
  BOOST_TEST(all[5].count == 2u);
  BOOST_TEST(all[9].count == 1u);  // not those of the interval before
}

BOOST_AUTO_TEST_CASE(of_users_that_are_declared_crashed_or_get_stuck) {
  (void)take();
  begin(a);
  const std::uint64_t generation = window().users[0] >> 2;
  for (int i = 0; i < 2; ++i)  // the second time it changes nothing
    BOOST_TEST(manager.call(VMSRS_CALL_MGMT_SUPPRESS, token, 0, 0, generation).status == VMSRS_OK);
  for (int i = 0; i < 2; ++i) BOOST_TEST(a.call(VMSRS_CALL_USER_STUCK).status == VMSRS_OK);
  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) ==
             (Types{VMSRS_EVENT_SUPPRESSION_BEGAN, VMSRS_EVENT_CRASH, VMSRS_EVENT_STUCK}));
  BOOST_TEST(all[1].fault.kind == unsigned{VMSRS_FAULT_OPERATOR});
  BOOST_TEST(all[1].trace_count == 0u);
  bury(a);
  BOOST_TEST(take().size() == 2u);
}

BOOST_AUTO_TEST_CASE(of_processes) {
  Client other(0x500000, 0xe000);
  BOOST_TEST(other.attach("shop", secret_of(1), 5000).status == VMSRS_OK);
  (void)take();
  begin(a);
  begin(other);
  (void)other.crash();
  (void)take();
  const auto reap = [&](std::uint32_t process) {
    return manager.call(VMSRS_CALL_MGMT_REAP, token, 0, process).status;
  };
  BOOST_TEST(reap(5000) == VMSRS_OK);
  std::vector<vmsrs_event> all = take();
  BOOST_REQUIRE(types_of(all) ==
                (Types{VMSRS_EVENT_REAPED, VMSRS_EVENT_COLLECTED, VMSRS_EVENT_SUPPRESSION_ENDED}));
  BOOST_TEST(all[0].process_id == 5000u);
  BOOST_TEST(all[0].count == 1u);
  BOOST_TEST(all[1].process_id == 0u);  // which is no more
  // The last one takes the server along: of its users there is nothing to collect.
  BOOST_TEST(other.attach("shop", secret_of(1), 5001).status == VMSRS_OK);
  BOOST_TEST(other.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(reap(kServerProcess) == VMSRS_OK);
  all = take();
  BOOST_TEST(types_of(all) ==
             (Types{VMSRS_EVENT_ATTACHED, VMSRS_EVENT_DETACHED, VMSRS_EVENT_REAPED}));
  BOOST_TEST(all[0].count == 1u);
  BOOST_TEST(all[1].process_id == 5001u);
  BOOST_TEST(all[2].count == 1u);
}

BOOST_AUTO_TEST_CASE(a_process_that_dies_crashes_its_users) {
  Client other(0x500000, 0xe000);
  (void)other.attach("shop", secret_of(1), 5000);
  begin(other);
  (void)take();
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_REAP, token, 0, 5000).status == VMSRS_OK);
  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) ==
             (Types{VMSRS_EVENT_REAPED, VMSRS_EVENT_SUPPRESSION_BEGAN, VMSRS_EVENT_CRASH,
                    VMSRS_EVENT_COLLECTED, VMSRS_EVENT_SUPPRESSION_ENDED}));
  BOOST_TEST(all[2].process_id == 5000u);
  BOOST_TEST(all[2].fault.kind == unsigned{VMSRS_FAULT_ABORT});
}

// ---- what anybody can cause at will

BOOST_AUTO_TEST_CASE(denied_calls_are_one_event_until_it_is_acknowledged) {
  (void)take();
  Client stranger(0x777000);
  for (int i = 0; i < 1000; ++i)
    BOOST_TEST(stranger.call(VMSRS_CALL_MGMT_REAP, 12345).status == VMSRS_DENIED);
  std::vector<vmsrs_event> all = from(0);
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_DENIED}));
  BOOST_TEST(all[0].count == 1u);
  BOOST_TEST(all[0].call == unsigned{VMSRS_CALL_MGMT_REAP});
  BOOST_TEST(all[0].status == unsigned{VMSRS_DENIED});
  BOOST_TEST(all[0].server == VMSRS_EVENT_NO_SERVER);
  BOOST_TEST(same(all[0], from(0)[0]));  // what was read once does not change
  machine.platform.advance_ns(1'000'000);
  (void)stranger.call(VMSRS_CALL_MGMT_SCRUB, 12345);
  const std::uint64_t first = all[0].sequence;
  BOOST_TEST(safe(first) == VMSRS_OK);
  all = from(first + 1);  // at once, though nobody is denied anything now
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_DENIED}));
  BOOST_TEST(all[0].count == 1000u);
  BOOST_TEST(all[0].call == unsigned{VMSRS_CALL_MGMT_SCRUB});
  BOOST_TEST(all[0].duration_ns >= 1'000'000u);
  BOOST_TEST(safe(first + 1) == VMSRS_OK);
  BOOST_TEST(from(0).size() == 0u);
  // Of a server's own calls there is one of their own.
  (void)stranger.call(VMSRS_CALL_MGMT_REAP, 12345);
  (void)a.call(VMSRS_CALL_MGMT_REAP, token);
  (void)a.call(VMSRS_CALL_MGMT_REAP, token);
  all = take();
  BOOST_REQUIRE(types_of(all) == (Types{VMSRS_EVENT_DENIED, VMSRS_EVENT_DENIED}));
  BOOST_TEST(all[1].server == 0u);
  BOOST_TEST(all[1].process_id == kServerProcess);
  BOOST_TEST(take()[0].count == 1u);
}

BOOST_AUTO_TEST_CASE(throttled_openings_are_denied_calls) {
  (void)take();
  Client stranger(0x777000);
  const Secret wrong = secret_of(0x11);
  Types statuses;
  for (int i = 0; i < 5; ++i)
    statuses.push_back(stranger.call(VMSRS_CALL_MGMT_OPEN, address_of(wrong.data()), 1).status);
  BOOST_TEST(statuses.back() == unsigned{VMSRS_THROTTLED});
  (void)take();
  const std::vector<vmsrs_event> all = take();
  BOOST_REQUIRE(all.size() == 1u);
  BOOST_TEST(all[0].count == 4u);
  BOOST_TEST(all[0].status == unsigned{VMSRS_THROTTLED});
}

BOOST_AUTO_TEST_CASE(of_storage_that_is_full) {
  constexpr std::uint64_t kTight = 5 * VMSRS_PAGE_BYTES;
  (void)manager.define(token, "shop", secret_of(1), kTight);
  (void)take();
  begin(a);
  std::size_t at = 0;
  while (store(a, at, 1) == VMSRS_OK) at += 8;
  for (int i = 0; i < 9; ++i) BOOST_TEST(store(a, at, 1) == VMSRS_NO_STORAGE);
  std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_STORAGE_FULL}));
  BOOST_TEST(all[0].process_id == kServerProcess);
  BOOST_TEST(take()[0].count == 9u);
  (void)take();
  (void)manager.define(token, "shop", secret_of(1), kTight, 0, VMSRS_STORAGE_UNPROTECTED);
  BOOST_TEST(store(a, at, 1) == VMSRS_OK);
  BOOST_TEST(types_of(take()) == (Types{VMSRS_EVENT_UNPROTECTED}));
}

// ---- the ring

// The oldest stay: they say how it began.
BOOST_AUTO_TEST_CASE(a_full_ring_keeps_the_oldest_and_counts_the_rest) {
  (void)take();
  const std::uint64_t first = 2;
  constexpr unsigned kCrashes = VMSRS_EVENTS_KEPT / 4 + 100;  // four events each
  for (unsigned i = 0; i < kCrashes; ++i) crash_once(a);
  constexpr std::uint64_t kLost = 4 * kCrashes - VMSRS_EVENTS_KEPT;
  vmsrs_stats stats{};
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats);
  BOOST_TEST(stats.lost_event_count == kLost);
  std::vector<vmsrs_event> all = from(0);
  BOOST_REQUIRE(all.size() == VMSRS_EVENTS_KEPT);
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_TEST(all[i].sequence == first + i);
    BOOST_TEST(all[i].generation == (i % 4 == 3 ? 0 : i / 4));
  }
  // Room for one is room for the word of those that are lost, and none for more.
  BOOST_TEST(safe(first) == VMSRS_OK);
  all = from(first + VMSRS_EVENTS_KEPT);
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_LOST}));
  BOOST_TEST(all[0].count == kLost);
  BOOST_TEST(all[0].server == VMSRS_EVENT_NO_SERVER);
  crash_once(a);
  BOOST_TEST(from(0).size() == VMSRS_EVENTS_KEPT);
  all = take();
  BOOST_TEST(all.size() == VMSRS_EVENTS_KEPT);
  all = take();
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_LOST}));
  BOOST_TEST(all[0].count == 4u);
  BOOST_TEST(all[0].sequence == first + VMSRS_EVENTS_KEPT + 1);
  crash_once(a);
  BOOST_TEST(take().size() == 4u);
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats);
  BOOST_TEST(stats.lost_event_count == kLost + 4);
}

// What is merged waits for room, and is not lost.
BOOST_AUTO_TEST_CASE(denied_calls_wait_for_room) {
  Client stranger(0x777000);
  for (unsigned i = 0; i < VMSRS_EVENTS_KEPT / 4; ++i) crash_once(a);
  for (int i = 0; i < 7; ++i) (void)stranger.call(VMSRS_CALL_MGMT_REAP, 12345);
  BOOST_TEST(take().size() == VMSRS_EVENTS_KEPT);
  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(types_of(all) == (Types{VMSRS_EVENT_LOST, VMSRS_EVENT_DENIED}));
  BOOST_TEST(all[0].count == 1u);  // the attachment took a place
  BOOST_TEST(all[1].count == 7u);
}

BOOST_AUTO_TEST_CASE(what_is_not_acknowledged_is_given_again) {
  crash_once(a);
  const std::vector<vmsrs_event> once = from(0), twice = from(0);
  BOOST_REQUIRE(once.size() == 5u);
  for (std::size_t i = 0; i < once.size(); ++i) BOOST_TEST(same(once[i], twice[i]));
  BOOST_TEST(safe(once[1].sequence) == VMSRS_OK);
  BOOST_TEST(safe(once[0].sequence) == VMSRS_OK);  // they were already
  const std::vector<vmsrs_event> rest = from(0);
  BOOST_REQUIRE(rest.size() == 3u);
  for (std::size_t i = 0; i < rest.size(); ++i) BOOST_TEST(same(rest[i], once[2 + i]));
  BOOST_TEST(from(once[4].sequence).size() == 1u);
  BOOST_TEST(from(once[4].sequence + 1).size() == 0u);
  BOOST_TEST(from(~0ull).size() == 0u);
  for (const std::uint64_t too_new : {once[4].sequence + 1, ~std::uint64_t{0}})
    BOOST_TEST(safe(too_new) == VMSRS_BAD_ARGUMENT);
  BOOST_TEST(from(0).size() == 3u);
  const Result left = manager.call(VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, token, once[3].sequence);
  BOOST_TEST(left.rdx == 1u);
}

// The hypervisor stays when its guest ends, and so does what it knows; another start of its own is
// another number.
BOOST_AUTO_TEST_CASE(a_boot_is_the_hypervisors) {
  crash_once(a);
  const std::vector<vmsrs_event> before = from(0);
  monitor::end_all_address_spaces();
  token = manager.open().rdx;
  const std::vector<vmsrs_event> after = from(0);
  BOOST_REQUIRE(after.size() == before.size() + 1);
  for (std::size_t i = 0; i < before.size(); ++i) BOOST_TEST(same(before[i], after[i]));
  BOOST_TEST(after.back().type == unsigned{VMSRS_EVENT_REAPED});
  BOOST_TEST(after.back().boot == before[0].boot);
  BOOST_TEST(before[0].boot != 0u);
  BOOST_TEST(before[0].boot >> 63 == 0u);

  machine.restart();
  token = manager.open().rdx;
  BOOST_TEST(from(0).size() == 0u);
  (void)manager.define(token, "shop", secret_of(1));
  (void)a.attach("shop", secret_of(1), kServerProcess);
  const std::vector<vmsrs_event> anew = from(0);
  BOOST_REQUIRE(anew.size() == 1u);
  BOOST_TEST(anew[0].sequence == 1u);
  BOOST_TEST(anew[0].boot != before[0].boot);
}

// Users of several servers crash on all processors, while one drains.
BOOST_AUTO_TEST_CASE(all_processors_at_once) {
  constexpr unsigned kThreads = 4, kCrashes = 500;
  for (unsigned number = 0; number < kThreads; ++number)
    (void)manager.define(token, server_name(number), secret_of(1));
  (void)take();
  std::atomic<unsigned> working{kThreads}, wrong{0}, crashes{0}, drained{0};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number)
    threads.emplace_back([&, number] {
      Client me(0x600000 + 0x1000 * std::uint64_t{number}, 0xa000);
      wrong += me.attach(server_name(number), secret_of(1), number + 1).status != VMSRS_OK;
      Client stranger(0x777000 + 0x1000 * std::uint64_t{number});
      for (unsigned i = 0; i < kCrashes; ++i) {
        while (crashes - drained > VMSRS_EVENTS_KEPT / 5 - kThreads) std::this_thread::yield();
        ++crashes;
        crash_once(me);
        wrong += stranger.call(VMSRS_CALL_MGMT_REAP, 12345).status != VMSRS_DENIED;
      }
      --working;
    });
  std::vector<vmsrs_event> all;
  for (bool more = true; more;) {
    more = working > 0;
    for (const vmsrs_event& event : take()) {
      all.push_back(event);
      drained += event.type == VMSRS_EVENT_COLLECTED;
      more = true;
    }
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(wrong == 0u);
  std::uint64_t counts[VMSRS_EVENT_TYPE_COUNT] = {}, denied = 0;
  std::uint64_t crashed[VMSRS_MAX_SERVERS] = {};  // generation of the server's one crashed user
  for (std::size_t i = 0; i < all.size(); ++i) {
    const vmsrs_event& event = all[i];
    wrong += event.sequence != 2 + i;
    wrong += event.boot != all[0].boot;
    ++counts[event.type];
    if (event.type == VMSRS_EVENT_DENIED) denied += event.count;
    if (event.type == VMSRS_EVENT_CRASH) crashed[event.server] = event.generation;
    if (event.type == VMSRS_EVENT_COLLECTED) wrong += crashed[event.server] != event.generation;
  }
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(counts[VMSRS_EVENT_CRASH] == kThreads * kCrashes);
  BOOST_TEST(counts[VMSRS_EVENT_COLLECTED] == kThreads * kCrashes);
  BOOST_TEST(counts[VMSRS_EVENT_SUPPRESSION_BEGAN] == kThreads * kCrashes);
  BOOST_TEST(counts[VMSRS_EVENT_SUPPRESSION_ENDED] == kThreads * kCrashes);
  BOOST_TEST(counts[VMSRS_EVENT_LOST] == 0u);
  BOOST_TEST(denied == kThreads * kCrashes);
}

// Added as fast as can be: each is in the ring once, or counted as lost.
BOOST_AUTO_TEST_CASE(nothing_but_the_ring) {
  constexpr unsigned kThreads = 4, kEvents = 10'000;
  const auto ring = std::make_unique<recovery::EventRing>(machine.platform, 0);
  std::atomic<unsigned> working{kThreads};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number)
    threads.emplace_back([&, number] {
      vmsrs_event event{};
      event.type = VMSRS_EVENT_CRASH;
      event.process_id = number;
      for (event.generation = 1; event.generation <= kEvents; ++event.generation) ring->add(event);
      --working;
    });
  std::uint64_t newest = 0, kept = 0, lost = 0, wrong = 0, left = 0;
  std::uint64_t last[kThreads] = {};
  for (bool more = true; more;) {
    more = working > 0;
    vmsrs_event page[16];
    std::uint64_t cursor = newest + 1;
    const std::uint32_t count = ring->read(cursor, page, 16);
    for (std::uint32_t i = 0; i < count; ++i) {
      wrong += page[i].sequence != ++newest;
      if (page[i].type == VMSRS_EVENT_LOST) {
        lost += page[i].count;
        continue;
      }
      wrong += page[i].generation <= last[page[i].process_id];
      last[page[i].process_id] = page[i].generation;
      ++kept;
    }
    more = more || count > 0;
    wrong += !ring->acknowledge(newest, left);
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(kept + lost == std::uint64_t{kThreads} * kEvents);
  BOOST_TEST(lost == ring->lost_count());
  BOOST_TEST(left == 0u);
}

// ---- arguments of USER_CRASH

BOOST_AUTO_TEST_CASE(what_a_thread_may_not_say) {
  begin(a);
  const auto refuse = [&](const vmsrs_crash& crash, std::uint64_t flags, vmsrs_status wanted) {
    const Result result = a.call(VMSRS_CALL_USER_CRASH, address_of(&crash), 0, 0, 0, 0, flags);
    BOOST_TEST(result.status == wanted);
    BOOST_TEST(!suppressing());
  };
  vmsrs_crash crash = told();
  crash.trace_count = VMSRS_TRACE_FRAMES + 1;
  refuse(crash, VMSRS_CRASH_TRACED, VMSRS_BAD_ARGUMENT);
  crash = told();
  crash.label_bytes = VMSRS_LABEL_BYTES + 1;
  refuse(crash, VMSRS_CRASH_TRACED, VMSRS_BAD_ARGUMENT);
  crash = told();
  refuse(crash, 4, VMSRS_BAD_ARGUMENT);
  crash.fault.kind = VMSRS_FAULT_KIND_COUNT;
  refuse(crash, VMSRS_CRASH_TRACED, VMSRS_BAD_ARGUMENT);
  // Without the flag it is the fault alone that is looked at.
  (void)take();
  crash = told("never seen");
  crash.trace_count = ~0u;
  BOOST_TEST(a.call(VMSRS_CALL_USER_CRASH, address_of(&crash)).status == VMSRS_OK);
  const std::vector<vmsrs_event> all = take();
  BOOST_TEST(all[1].trace_count == 0u);
  BOOST_TEST(all[1].label_bytes == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
