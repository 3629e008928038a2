// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>

#include "fixture.hpp"
#include "support/claim_server.hpp"

// Several processes of one server, each with its regions at addresses of its own.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

constexpr std::size_t kBytes = 2 * VMSRS_PAGE_BYTES;
constexpr unsigned kGranule = 16;

// Two processes of a server whose stores are all calls, and a third one that has joined nothing.
// Threads of the two have the same FS base.
struct TwoProcesses {
  Machine machine;
  Pages pages{kBytes, 2};
  Client manager{kManagerSpace, 0x9000, 0};
  std::uint64_t token = manager.open().rdx;
  Client a = thread(0, 0xa000), b = thread(1, 0xa000), other_b = thread(1, 0xb000),
         outsider = thread(2, 0xa000);
  Client services[3] = {thread(0, 0xd000), thread(1, 0xd000), thread(2, 0xd000)};
  char name[VMSRS_NAME_BYTES] = "notes";

  TwoProcesses() {
    for (std::size_t i = 0; i < kBytes; ++i) pages.data()[i] = static_cast<std::uint8_t>(i);
    (void)manager.define(token, "shop", secret_of(1));
    BOOST_TEST(a.attach("shop", secret_of(1), 100).rsi == 0u);
    BOOST_TEST(b.attach("shop", secret_of(1), 101).rsi == 1u);
    BOOST_TEST(outsider.attach("shop", secret_of(1), 102).rsi == 2u);
    BOOST_TEST(a.profile_named(pages.data(0), kBytes, kGranule, name).status == VMSRS_OK);
    BOOST_TEST(join(b, pages.data(1)) == VMSRS_OK);
  }
  Client thread(unsigned process, std::uint64_t id) {
    Client made(0x100000 * (process + 1), id);
    for (unsigned view = 0; view < 2; ++view)
      if (view != process) made.memory.forbid_range(pages.data(view), kBytes);
    return made;
  }
  vmsrs_status join(Client& client, std::uint8_t* at, std::uint64_t bytes = kBytes,
                    unsigned granule = kGranule, std::uint64_t claims = 0) {
    return client
        .call(VMSRS_CALL_PROFILE_JOIN, address_of(at), bytes, granule, address_of(name), claims)
        .status;
  }
  static vmsrs_status begin(Client& user) { return user.call(VMSRS_CALL_USER_BEGIN, 7).status; }
  static vmsrs_status end(Client& user) { return user.call(VMSRS_CALL_USER_END).status; }
  vmsrs_status store(Client& user, unsigned process, std::size_t at, std::uint64_t value) {
    return user.call(VMSRS_CALL_STORE, address_of(pages.data(process) + at), value, 8).status;
  }
  std::uint64_t load(Client& user, unsigned process, std::size_t at) {
    return user.call(VMSRS_CALL_LOAD, address_of(pages.data(process) + at), 8).rdx;
  }
  std::uint64_t word(std::size_t at) const {
    std::uint64_t word;
    std::memcpy(&word, pages.data() + at, sizeof word);
    return word;
  }
  vmsrs_status reap(std::uint32_t process_id) {
    return manager.reap(token, 0, process_id).status;
  }
  vmsrs_server_info info() {
    vmsrs_server_info out{};
    (void)manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&out), sizeof out);
    return out;
  }
  void serve(unsigned process) {
    while (services[process].call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN) {
    }
  }
  bool sound() {
    vmsrs_check_report report{};
    manager.check(token, report, [this] {
      for (unsigned process = 0; process < 3; ++process) serve(process);
    });
    for (const vmsrs_check_result& result : report.results)
      if (result.verdict != VMSRS_VERDICT_OK) return false;
    return true;
  }
  const vmsrs_window& window() { return *machine.platform.window(0); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(processes, TwoProcesses)

BOOST_AUTO_TEST_CASE(same_thread_number_in_both) {
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(info().active_users == 2u);
  BOOST_TEST(store(a, 0, 0, 1) == VMSRS_OK);
  BOOST_TEST(store(b, 1, 64, 2) == VMSRS_OK);
  (void)a.crash();
  BOOST_TEST(store(a, 0, 8, 9) == VMSRS_CRASHED);
  BOOST_TEST(store(b, 1, 8, 3) == VMSRS_OK);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(end(a) == VMSRS_CRASHED);
  BOOST_TEST(a.call(VMSRS_CALL_USER_COLLECT).status == VMSRS_OK);
  BOOST_TEST(word(8) == 3u);
  BOOST_TEST(word(64) == 2u);
  BOOST_TEST(word(0) == 0x0706050403020100u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(one_address_means_what_its_process_has_there) {
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(store(b, 0, 0, 1) == VMSRS_NO_REGION);
  BOOST_TEST(store(b, 1, 0, 1) == VMSRS_OK);
  BOOST_TEST(begin(outsider) == VMSRS_OK);
  for (const unsigned process : {0u, 1u})
    BOOST_TEST(store(outsider, process, 0, 1) == VMSRS_NO_REGION);
  BOOST_TEST(end(outsider) == VMSRS_OK);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(load(a, 0, 0) == 1u);
  std::uint64_t committed = 0;
  BOOST_TEST(a.call(VMSRS_CALL_LOAD_COMMITTED, address_of(pages.data(0)), 8, address_of(&committed))
                 .status == VMSRS_OK);
  BOOST_TEST(committed == 1u);
}

// What a user of one process wrote when it crashed is restored for the reader in another.
BOOST_AUTO_TEST_CASE(crash_in_one_is_seen_in_the_other) {
  begin(a);
  begin(b);
  store(a, 0, 0, 1);
  store(b, 1, 0, 2);
  store(a, 0, 32, 3);
  BOOST_TEST(load(b, 1, 32) == 3u);
  (void)a.crash();
  BOOST_TEST(load(b, 1, 32) == 0x2726252423222120u);
  BOOST_TEST(load(b, 1, 0) == 2u);
  BOOST_TEST(info().demand_restore_count == 1u);
  BOOST_TEST(end(b) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(joining_refused) {
  Pages elsewhere(kBytes);
  BOOST_TEST(join(b, elsewhere.data()) == VMSRS_BUSY);
  BOOST_TEST(join(outsider, elsewhere.data(), kBytes / 2) == VMSRS_OTHER_SHAPE);
  BOOST_TEST(join(outsider, elsewhere.data(), kBytes, 32) == VMSRS_OTHER_SHAPE);
  BOOST_TEST(join(outsider, elsewhere.data(), kBytes, kGranule, address_of(pages.data())) ==
             VMSRS_OTHER_SHAPE);
  BOOST_TEST(join(outsider, pages.data(0)) == VMSRS_BAD_ADDRESS);
  std::strcpy(name, "others");
  BOOST_TEST(join(outsider, elsewhere.data()) == VMSRS_NO_REGION);
  BOOST_TEST(outsider.call(VMSRS_CALL_PROFILE_FIND, address_of(name)).status == VMSRS_NO_REGION);
  const Result filling = outsider.call(VMSRS_CALL_PROFILE_NAMED, address_of(elsewhere.data()),
                                       kBytes, kGranule, address_of(name));
  BOOST_TEST(filling.status == VMSRS_OK);
  BOOST_TEST(join(a, elsewhere.data()) == VMSRS_WRONG_STATE);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FIND, address_of(name)).status == VMSRS_WRONG_STATE);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, filling.rdx, 0).status == VMSRS_NO_REGION);
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, filling.rdx).status == VMSRS_NO_REGION);
  while (outsider.call(VMSRS_CALL_PROFILE_FILL, filling.rdx, 0).status == VMSRS_AGAIN) {
  }
  BOOST_TEST(join(a, pages.data(0)) == VMSRS_OVERLAP);
  BOOST_TEST(a.profile_named(elsewhere.data(), kBytes, kGranule, name).status == VMSRS_JOIN);
  BOOST_TEST(join(a, elsewhere.data()) == VMSRS_OK);
  // A region of another server is none.
  (void)manager.define(token, "second", secret_of(2));
  Client foreign(0x700000);
  BOOST_TEST(foreign.attach("second", secret_of(2), 7).status == VMSRS_OK);
  BOOST_TEST(join(foreign, elsewhere.data()) == VMSRS_NO_REGION);
}

BOOST_AUTO_TEST_CASE(what_is_found) {
  const Result found = outsider.call(VMSRS_CALL_PROFILE_FIND, address_of(name));
  BOOST_TEST(found.status == VMSRS_OK);
  BOOST_TEST(VMSRS_FOUND_REGION(found.rdx) == 0u);
  BOOST_TEST(VMSRS_FOUND_GRANULE(found.rdx) == kGranule);
  BOOST_TEST((found.rdx & VMSRS_FOUND_CLAIMS) == 0u);
  BOOST_TEST(found.rsi == kBytes);
}

BOOST_AUTO_TEST_CASE(what_others_have_is_not_given_up) {
  BOOST_TEST(a.call(VMSRS_CALL_INIT_PROFILE).status == VMSRS_BUSY);
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, 0).status == VMSRS_BUSY);
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE_NAMED, address_of(name)).status == VMSRS_BUSY);
  begin(b);
  store(b, 1, 0, 5);
  BOOST_TEST(b.call(VMSRS_CALL_DETACH).status == VMSRS_BUSY);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(info().process_id == 101u);
  BOOST_TEST(end(b) == VMSRS_OK);
  BOOST_TEST(word(0) == 5u);
  BOOST_TEST(b.call(VMSRS_CALL_UNPROFILE_NAMED, address_of(name)).status == VMSRS_OK);
  BOOST_TEST(info().region_count == 0u);
}

BOOST_AUTO_TEST_CASE(as_many_as_there_are_places) {
  std::vector<Client> more;
  for (unsigned i = 3; i < VMSRS_MAX_PROCESSES; ++i) {
    more.emplace_back(0x100000 * (i + 1));
    BOOST_TEST(more.back().attach("shop", secret_of(1), 100 + i).status == VMSRS_OK);
  }
  Client last(0x100000 * (VMSRS_MAX_PROCESSES + 1));
  BOOST_TEST(last.attach("shop", secret_of(1), 999).status == VMSRS_NO_SLOT);
  const vmsrs_server_info seen = info();
  BOOST_TEST(seen.process_count == VMSRS_MAX_PROCESSES);
  BOOST_TEST(seen.process_id == 100u);
  for (unsigned i = 0; i < VMSRS_MAX_PROCESSES; ++i) BOOST_TEST(seen.process_ids[i] == 100 + i);
  BOOST_TEST(reap(100) == VMSRS_OK);
  BOOST_TEST(reap(100) == VMSRS_WRONG_STATE);
  BOOST_TEST(last.attach("shop", secret_of(1), 999).status == VMSRS_OK);
  BOOST_TEST(info().process_id == 101u);
  BOOST_TEST(info().process_ids[VMSRS_MAX_PROCESSES - 1] == 999u);
  BOOST_TEST(begin(a) == VMSRS_NOT_ATTACHED);
  BOOST_TEST(begin(more.back()) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(status_page_says_when_there_are_several) {
  Machine fresh;
  manager = Client(kManagerSpace, 0x9000, 0);
  token = manager.open().rdx;
  (void)manager.define(token, "shop", secret_of(1));
  BOOST_TEST(a.attach("shop", secret_of(1), 100).status == VMSRS_OK);
  BOOST_TEST(fresh.platform.window(0)->status.processes == 0u);
  BOOST_TEST(b.attach("shop", secret_of(1), 101).status == VMSRS_OK);
  BOOST_TEST(fresh.platform.window(0)->status.processes == 1u);
  BOOST_TEST(b.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(fresh.platform.window(0)->status.processes == 1u);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(fresh.platform.window(0)->status.processes == 0u);
}

// A process dies with unfinished users of every kind. The others' users are none of its.
BOOST_AUTO_TEST_CASE(death_crashes_the_own_users_only) {
  begin(a);
  begin(b);
  begin(other_b);
  begin(outsider);
  store(a, 0, 0, 1);
  store(b, 1, 0, 2);
  store(b, 1, 32, 3);
  store(other_b, 1, 64, 4);
  (void)other_b.crash();
  BOOST_TEST(reap(101) == VMSRS_OK);
  BOOST_TEST(info().attached == 1u);
  BOOST_TEST(info().faults[VMSRS_FAULT_ABORT] == 1u);
  BOOST_TEST((window().users[1] & 3) == VMSRS_USER_FREE);  // no thread has it any more
  BOOST_TEST(load(a, 0, 32) == 0x2726252423222120u);       // before anybody collects
  BOOST_TEST(store(a, 0, 8, 6) == VMSRS_OK);
  BOOST_TEST(info().crashed_users == 2u);
  serve(2);  // which cannot reach the region
  BOOST_TEST(info().crashed_users == 1u);
  serve(0);
  BOOST_TEST(info().crashed_users == 0u);
  BOOST_TEST((window().status.mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(end(a) == VMSRS_OK);
  BOOST_TEST(end(outsider) == VMSRS_OK);
  BOOST_TEST(word(0) == 1u);
  BOOST_TEST(word(8) == 6u);
  BOOST_TEST(word(64) == 0x4746454443424140u);
  BOOST_TEST(sound());
  // Its successor's thread of the same number has no user.
  BOOST_TEST(b.attach("shop", secret_of(1), 101).status == VMSRS_OK);
  BOOST_TEST(end(b) == VMSRS_NO_USER);
  BOOST_TEST(store(b, 1, 0, 1) == VMSRS_NO_USER);
}

BOOST_AUTO_TEST_CASE(region_that_nobody_has_any_more_is_kept) {
  begin(b);
  store(b, 1, 0, 2);
  BOOST_TEST(reap(101) == VMSRS_OK);
  BOOST_TEST(reap(100) == VMSRS_OK);
  BOOST_TEST(info().attached == 1u);
  BOOST_TEST(info().kept_region_count == 1u);
  BOOST_TEST(info().record_count == 0u);
  BOOST_TEST(info().crashed_users == 0u);
  Pages fresh(kBytes);
  const Result region = outsider.profile_named(fresh.data(), kBytes, kGranule, name);
  BOOST_TEST(region.status == VMSRS_OK);
  BOOST_TEST(region.rsi == 1u);
  BOOST_TEST(fresh.data()[0] == 0u);
  BOOST_TEST(fresh.data()[33] == 33u);
  BOOST_TEST(sound());
}

// Their kernel has ended, and every process with it: nobody's call says so. What was finished is
// there for who attaches next, whatever memory it has, and nothing else.
BOOST_AUTO_TEST_CASE(all_end_with_their_kernel) {
  begin(a);
  store(a, 0, 0, 1);
  BOOST_TEST(end(a) == VMSRS_OK);
  begin(a);
  store(a, 0, 16, 2);  // crashes, and is never collected
  (void)a.crash();
  begin(b);
  store(b, 1, 32, 3);  // never ends
  begin(outsider);
  monitor::end_all_address_spaces();
  vmsrs_server_info none{};
  BOOST_TEST(
      manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&none), sizeof none).status ==
      VMSRS_DENIED);
  token = manager.open().rdx;
  const vmsrs_server_info left = info();
  BOOST_TEST(left.process_count == 0u);
  BOOST_TEST(left.active_users + left.crashed_users == 0u);
  BOOST_TEST(left.kept_bytes == kBytes);
  BOOST_TEST((left.mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(begin(a) == VMSRS_NOT_ATTACHED);

  BOOST_TEST((manager.define(token, "shop", secret_of(1)).status == VMSRS_OK));
  BOOST_TEST(b.attach("shop", secret_of(1), 101).rsi == 0u);
  std::memset(pages.data(1), 0xee, kBytes);
  const Result again = b.profile_named(pages.data(1), kBytes, kGranule, name);
  BOOST_TEST(again.status == VMSRS_OK);
  BOOST_TEST(load(b, 1, 0) == 1u);
  for (std::size_t at = 8; at < kBytes; ++at)
    BOOST_TEST(pages.data(1)[at] == static_cast<std::uint8_t>(at));
  BOOST_TEST(sound());
}

// Two regions, and no survivor that has joined both.
BOOST_AUTO_TEST_CASE(survivors_restore_what_each_can_reach) {
  Pages second(kBytes, 1);
  char second_name[VMSRS_NAME_BYTES] = "second";
  BOOST_TEST(b.profile_named(second.data(), kBytes, kGranule, second_name).status == VMSRS_OK);
  BOOST_TEST(outsider
                 .call(VMSRS_CALL_PROFILE_JOIN, address_of(second.data()), kBytes, kGranule,
                       address_of(second_name))
                 .status == VMSRS_OK);
  begin(b);
  store(b, 1, 0, 1);
  BOOST_TEST(b.call(VMSRS_CALL_STORE, address_of(second.data()), 1, 8).status == VMSRS_OK);
  BOOST_TEST(reap(101) == VMSRS_OK);
  serve(2);
  BOOST_TEST(second.data()[0] == 0u);
  BOOST_TEST(pages.data()[0] == 1u);
  BOOST_TEST(info().crashed_users == 1u);
  serve(0);
  BOOST_TEST(word(0) == 0x0706050403020100u);
  BOOST_TEST(info().crashed_users == 0u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(last_detach_ends_what_a_dead_process_left) {
  begin(b);
  store(b, 1, 0, 2);
  BOOST_TEST(reap(101) == VMSRS_OK);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(outsider.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(info().attached == 0u);
  BOOST_TEST(info().crashed_users == 0u);
  BOOST_TEST(info().storage_used_bytes == 0u);
  BOOST_TEST(sound());
}

// A comparison goes on in the process that has joined the region.
BOOST_AUTO_TEST_CASE(walks_are_left_to_those_who_can_go) {
  pages.data()[40] ^= 1;
  (void)manager.call(VMSRS_CALL_MGMT_SCRUB, token, 0, ~0ull);
  const std::uint64_t asked = window().status.service_request;
  serve(2);
  BOOST_TEST(window().status.service_request > asked);
  BOOST_TEST(pages.data()[40] == (40 ^ 1));
  serve(1);
  BOOST_TEST(pages.data()[40] == 40);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_SCRUB, token, 0, 0).status == VMSRS_OK);
}

BOOST_AUTO_TEST_SUITE_END()

// ---- with claims

BOOST_AUTO_TEST_CASE(areas_are_made_once) {
  ClaimServer server({{VMSRS_PAGE_BYTES, 64}}, 4096, 2);
  Client third(0x700000);
  Pages own(VMSRS_MAX_USERS * 4096);
  BOOST_TEST(third.attach("shop", secret_of(1), 9).status == VMSRS_OK);
  const std::uint64_t at = address_of(own.data());
  BOOST_TEST(third.call(VMSRS_CALL_USER_AREAS, at, 4096).status == VMSRS_JOIN);
  BOOST_TEST(third.call(VMSRS_CALL_USER_AREAS_JOIN, at, 2048).status == VMSRS_OTHER_SHAPE);
  BOOST_TEST(server.service.call(VMSRS_CALL_USER_AREAS_JOIN, at, 4096).status == VMSRS_BUSY);
  BOOST_TEST(
      server.service.call(VMSRS_CALL_USER_AREAS, address_of(server.areas.data()), 4096).status ==
      VMSRS_BUSY);
  BOOST_TEST(third.call(VMSRS_CALL_USER_AREAS_JOIN, at, 4096).status == VMSRS_OK);
  (void)server.manager.define(server.token, "second", secret_of(2));
  Client alone(0x800000);
  BOOST_TEST(alone.attach("second", secret_of(2), 9).status == VMSRS_OK);
  BOOST_TEST(alone.call(VMSRS_CALL_USER_AREAS_JOIN, at, 4096).status == VMSRS_NOT_FOUND);
}

// A user of one process is declared crashed by another. Its own process hears of it too, for it
// bounds the user's time; one without the areas cannot say that no store is under way.
BOOST_AUTO_TEST_CASE(declared_crashed_by_another_process) {
  ClaimServer server({{VMSRS_PAGE_BYTES, 64}}, 4096, 2);
  ClaimThread victim(server, 0xa000, 1), watchdog(server, 0xa000, 0);
  BOOST_TEST(victim.begin() == VMSRS_OK);
  BOOST_TEST((victim.store_word(0, 0, 5) == Access::kDone));
  const guest::CallResult declared = watchdog.declare(victim.slot, server.generation(victim.slot));
  BOOST_TEST(declared.status == VMSRS_OK);
  BOOST_TEST(server.service.call(VMSRS_CALL_SERVICE).status != VMSRS_DRAIN);
  Client third(0x700000);
  BOOST_TEST(third.attach("shop", secret_of(1), 9).status == VMSRS_OK);
  BOOST_TEST(third.call(VMSRS_CALL_USER_DRAINED, victim.slot, declared.first).status ==
             VMSRS_WRONG_STATE);
  watchdog.drain(victim.slot);
  BOOST_TEST(watchdog.report_drained(victim.slot, declared.first) == VMSRS_OK);
  BOOST_TEST(watchdog.load_word(0, 0) != 5u);
  const Result told = server.service_of(1).call(VMSRS_CALL_SERVICE);
  BOOST_TEST(told.status == VMSRS_DRAIN);
  BOOST_TEST(told.rdx == victim.slot);
  BOOST_TEST(server.service_of(1).call(VMSRS_CALL_USER_DRAINED, told.rdx, told.rsi).status ==
             VMSRS_OK);
  BOOST_TEST(server.service_of(1).call(VMSRS_CALL_SERVICE).status != VMSRS_DRAIN);
  BOOST_TEST(victim.hear(1) == VMSRS_OK);
  BOOST_TEST(victim.end() == VMSRS_CRASHED);
  BOOST_TEST(victim.collect() == VMSRS_OK);
  BOOST_TEST(server.sound());
}

namespace {

// What the dying process's thread does, one step at a time: stores alone and to what the other one
// has stored to, a commit, a crash, its collection, and the next user. False: it is through.
bool take_step(ClaimThread& thread, unsigned step) {
  switch (step) {
    case 0:
      return thread.begin() == VMSRS_OK;
    case 1:
    case 2:
    case 3:
      return thread.store_word(0, 8 * step, 100 + step) == Access::kDone;  // contends
    case 4:
      return thread.store_word(0, 256, 104) == Access::kDone;  // its own alone
    case 5:
      return thread.store_late(0, 320, 105);  // the rest of it never comes
    case 6:
      return thread.end(true) == VMSRS_OK;
    case 7:
      return thread.store_word(0, 8, 107) == Access::kDone;
    case 8:
      return thread.store_word(0, 256, 108) == Access::kDone;
    case 9:
      return thread.crash() == VMSRS_OK;
    case 10:
      return thread.end() == VMSRS_CRASHED;
    case 11:
      return thread.collect() == VMSRS_OK;
    case 12:
      return thread.begin() == VMSRS_OK;
    default:
      return false;
  }
}
constexpr unsigned kSteps = 13;

}  // namespace

// A process dies after each of its steps, also while its tag is being frozen, and with its window
// open. The other one's user goes on, commits, and finds what was committed.
BOOST_AUTO_TEST_CASE(death_after_every_step) {
  std::uint64_t restored = 0;
  for (unsigned last = 0; last < kSteps; ++last) {
    for (const bool frozen : {false, true}) {
      ClaimServer server({{VMSRS_PAGE_BYTES, 64}}, 1024, 2);
      ClaimThread dying(server, 0xa000, 1), other(server, 0xa000, 0);
      BOOST_REQUIRE(other.begin() == VMSRS_OK);
      BOOST_REQUIRE((other.store_word(0, 0, 1) == Access::kDone));
      BOOST_REQUIRE((other.store_word(0, 64, 2) == Access::kDone));
      std::uint64_t before[VMSRS_PAGE_BYTES / 8];
      std::memcpy(before, server.region(0), sizeof before);
      for (unsigned step = 0; step <= last; ++step) {
        BOOST_REQUIRE(take_step(dying, step));
        if (step == 6) {  // committed
          for (unsigned i = 1; i <= 3; ++i) before[i] = 100 + i;
          before[32] = 104;
          before[40] = 105;
        }
      }
      if (frozen) {  // a store of the other one's has come as far as to the drain
        const std::uint64_t wanted = 9;
        (void)other.client.call(VMSRS_CALL_STORE_RANGE, address_of(server.region(0) + 264),
                                address_of(&wanted), 8);
      }
      server.area(dying.slot).window = 1;
      BOOST_REQUIRE(server.lose(1) == VMSRS_OK);
      const auto seen = [&](std::size_t word) { return other.load_word(0, 8 * word); };
      for (const std::size_t word : {1u, 2u, 3u, 32u, 40u})
        BOOST_TEST(seen(word) == before[word], "after step " << last << ", word " << word);
      BOOST_TEST((other.store_word(0, 8, 11) == Access::kDone));
      BOOST_TEST((other.store_word(0, 256, 12) == Access::kDone));
      BOOST_TEST((other.store_word(0, 320, 13) == Access::kDone));
      restored += server.info().demand_restore_count;
      server.serve(0);
      BOOST_TEST(server.info().crashed_users == 0u);
      BOOST_TEST((server.window().status.mode & VMSRS_MODE_SUPPRESSION) == 0u);
      BOOST_TEST(other.end() == VMSRS_OK);
      before[0] = 1, before[1] = 11, before[8] = 2, before[32] = 12, before[40] = 13;
      BOOST_TEST(std::memcmp(server.region(0), before, sizeof before) == 0, "after step " << last);
      BOOST_TEST(std::memcmp(recovery::EngineProbe::ledger(0).regions[0].mirror, before,
                             sizeof before) == 0);
      BOOST_TEST(server.info().record_count == 0u);
      BOOST_TEST(server.sound());
      BOOST_TEST(server.join(1) == VMSRS_OK);
      ClaimThread heir(server, 0xa000, 1);
      BOOST_TEST(heir.begin() == VMSRS_OK);
      BOOST_TEST(heir.load_word(0, 8) == 11u);
      BOOST_TEST(heir.end() == VMSRS_OK);
    }
  }
  BOOST_TEST(restored > 0u);
}

// Many claims, of which each call looks at a bounded number; and it may be another process that
// goes on with them.
BOOST_AUTO_TEST_CASE(orphans_are_collected_in_pieces) {
  constexpr std::size_t kLarge = 10000 * 8;
  ClaimServer server({{kLarge / 64 * 64, 8}}, 16384, 3);
  ClaimThread dying(server, 0xa000, 2);
  BOOST_TEST(dying.begin() == VMSRS_OK);
  for (std::size_t i = 0; i < 1000; ++i)
    BOOST_REQUIRE((dying.store_word(0, 64 * i, i + 1) == Access::kDone));
  BOOST_TEST(server.lose(2) == VMSRS_OK);
  unsigned calls = 0;
  while (server.service_of(calls % 2).call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN &&
         server.info().crashed_users > 0)
    ++calls;
  BOOST_TEST(calls >= 3u);
  BOOST_TEST(server.info().crashed_users == 0u);
  BOOST_TEST(server.info().collect_restore_count == 1000u);
  BOOST_TEST(server.sound());
}

// What lies in a region that one survivor has not joined is another one's to restore, and the user
// is not over before.
BOOST_AUTO_TEST_CASE(orphan_waits_for_every_region) {
  ClaimServer server({{VMSRS_PAGE_BYTES, 64}, {VMSRS_PAGE_BYTES, 64}}, 1024, 3);
  BOOST_TEST(server.lose(1) == VMSRS_OK);
  BOOST_TEST(server.join(1, 1) == VMSRS_OK);
  ClaimThread dying(server, 0xa000, 2), reader(server, 0xa000, 0);
  const std::uint64_t right = reader.load_word(1, 0);
  BOOST_TEST(dying.begin() == VMSRS_OK);
  BOOST_TEST((dying.store_word(0, 0, 5) == Access::kDone));
  BOOST_TEST((dying.store_word(1, 0, 6) == Access::kDone));
  BOOST_TEST((dying.store_word(1, 64, 7) == Access::kDone));
  BOOST_TEST(server.lose(2) == VMSRS_OK);
  server.serve(1);
  BOOST_TEST(server.info().crashed_users == 1u);
  BOOST_TEST(server.region(0)[0] == 0);
  BOOST_TEST(server.region(1)[0] == 6);
  BOOST_TEST(reader.load_word(1, 0) == right);
  server.serve(0);
  BOOST_TEST(server.info().crashed_users == 0u);
  BOOST_TEST(reader.load_word(1, 64) != 7u);
  BOOST_TEST(server.sound());
}

// Another process says that a user is drained, and has not the eager region that this one wrote to.
BOOST_AUTO_TEST_CASE(eager_region_waits_for_who_has_it) {
  ClaimServer server({{VMSRS_PAGE_BYTES, 64}, {VMSRS_PAGE_BYTES, 64, true, true}}, 1024, 2);
  BOOST_TEST(server.lose(1) == VMSRS_OK);
  BOOST_TEST(server.join(1, 1) == VMSRS_OK);
  ClaimThread writer(server, 0xa000, 0), other(server, 0xa000, 1);
  const std::uint8_t right = server.region(1)[0];
  BOOST_TEST(writer.begin() == VMSRS_OK);
  BOOST_TEST((writer.store_word(1, 0, 6) == Access::kDone));
  server.region(1)[64] ^= 0xff;  // a wild store
  const std::uint8_t wild = server.region(1)[64];
  const guest::CallResult declared = other.declare(writer.slot, server.generation(writer.slot));
  BOOST_TEST(declared.status == VMSRS_OK);
  BOOST_TEST(other.report_drained(writer.slot, declared.first) == VMSRS_OK);
  server.serve(1);
  BOOST_TEST(server.region(1)[0] == 6);
  server.serve(0);
  BOOST_TEST(server.region(1)[0] == right);
  BOOST_TEST(server.region(1)[64] != wild);
  BOOST_TEST(server.info().crash_restore_count == 1u);
  BOOST_TEST(writer.end() == VMSRS_CRASHED);
  BOOST_TEST(writer.collect() == VMSRS_OK);
  BOOST_TEST(server.sound());
}

// A thread was given its next user in advance, which has not begun: nobody's crash.
BOOST_AUTO_TEST_CASE(user_that_had_not_begun) {
  ClaimServer server({{VMSRS_PAGE_BYTES, 64}}, 1024, 2);
  ClaimThread dying(server, 0xa000, 1);
  BOOST_TEST(dying.begin() == VMSRS_OK);
  BOOST_TEST((dying.store_word(0, 0, 5) == Access::kDone));
  BOOST_TEST(dying.end(true) == VMSRS_OK);
  BOOST_TEST(server.lose(1) == VMSRS_OK);
  server.serve(0);
  const vmsrs_server_info info = server.info();
  BOOST_TEST(info.finished_count == 1u);
  BOOST_TEST(info.collected_count == 0u);
  BOOST_TEST(info.faults[VMSRS_FAULT_ABORT] == 0u);
  BOOST_TEST((info.mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(server.region(0)[0] == 5);
  BOOST_TEST(server.sound());
}
