// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <random>
#include <vector>

#include "fixture.hpp"

// The death of a server's only process goes in pieces: between any two of them the engine is sound,
// the process is there and makes no calls, and at the end it is as if it had gone in one step. (Of
// one that others outlive: random histories.)
using namespace vmsrs;
using namespace vmsrs::test;

namespace {

constexpr std::size_t kBytes = 2 * VMSRS_PAGE_BYTES, kWords = kBytes / 8;
constexpr std::uint32_t kFirst = 100, kSecond = 101;

struct alignas(VMSRS_PAGE_BYTES) Memory {
  std::uint64_t words[kWords];
};

struct Fixture {
  Machine machine;
  Client manager{kManagerSpace, 0x9000, 0};
  std::uint64_t token = manager.open().rdx;
  std::uint64_t empty_bytes = 0;
  Memory kept{}, given_up{};
  std::vector<std::uint64_t> committed;
  Client service{0x100000, 0xd000};

  Fixture() {
    (void)manager.define(token, "shop", secret_of(1));
    empty_bytes = recovery::EngineProbe::pool().used_bytes();
    for (std::size_t i = 0; i < kWords; ++i) kept.words[i] = i;
    committed.assign(kept.words, kept.words + kWords);
    BOOST_TEST(service.attach("shop", secret_of(1), kFirst).status == VMSRS_OK);
    BOOST_TEST(service.profile_named(reinterpret_cast<std::uint8_t*>(kept.words), kBytes, 8, "kept")
                   .status == VMSRS_OK);
    BOOST_TEST(service.profile(reinterpret_cast<std::uint8_t*>(given_up.words), kBytes, 8).status ==
               VMSRS_OK);
  }
  static Client user(std::uint64_t number) { return Client(0x100000, 0x10000 + number * 0x100); }
  vmsrs_status store(Client& user, std::uint64_t* word, std::uint64_t value) {
    return user.call(VMSRS_CALL_STORE, address_of(word), value, 8).status;
  }
  vmsrs_server_info info() {
    vmsrs_server_info out{};
    (void)manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&out), sizeof out);
    return out;
  }
  vmsrs_status piece(std::uint32_t steps) {
    return recovery::EngineProbe::engine().reap(0, kFirst, steps).status;
  }
  // All that the engine can look at without a thread of the server.
  bool sound() {
    vmsrs_check_report report{};
    vmsrs_status status = VMSRS_AGAIN;
    for (std::uint64_t anew = 1; status == VMSRS_AGAIN; anew = 0) {
      status = manager.call(VMSRS_CALL_MGMT_CHECK, token, anew, address_of(&report), sizeof report)
                   .status;
      if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING) break;
    }
    for (const vmsrs_check_result& result : report.results)
      if (result.violation_count > 0) return false;
    return true;
  }
  // Users of all kinds, with stores of one order in both regions.
  void work(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const std::size_t count = 1 + random() % 24;
    for (std::size_t number = 0; number < count; ++number) {
      Client one = user(number);
      (void)one.call(VMSRS_CALL_USER_BEGIN, number);
      std::vector<std::pair<std::size_t, std::uint64_t>> stores;
      for (std::size_t i = random() % 12; i > 0; --i) {
        const std::size_t word = random() % (random() % 2 == 0 ? 8 : kWords);
        stores.emplace_back(word, random());
        BOOST_TEST(store(one, &kept.words[word], stores.back().second) == VMSRS_OK);
        BOOST_TEST(store(one, &given_up.words[word], stores.back().second) == VMSRS_OK);
      }
      switch (random() % 4) {
        case 0:
          (void)one.crash();
          break;
        case 1:
          BOOST_TEST(one.call(VMSRS_CALL_USER_END).status == VMSRS_OK);
          for (const auto& [word, value] : stores) committed[word] = value;
          break;
        default:
          break;
      }
    }
  }
  void expect_gone() {
    BOOST_TEST(info().process_count == 0u);
    BOOST_TEST(info().active_users + info().crashed_users == 0u);
    BOOST_TEST(info().kept_region_count == 1u);
    BOOST_TEST(info().record_count == 0u);
    BOOST_TEST(sound());
  }
  // Another process finds what was committed, and gives it up.
  void expect_committed() {
    Client next(0x200000, 0xd000);
    Memory again{};
    while (next.attach_piece("shop", secret_of(1), kSecond).status == VMSRS_AGAIN) {
    }
    const Result profiled =
        next.profile_named(reinterpret_cast<std::uint8_t*>(again.words), kBytes, 8, "kept");
    BOOST_TEST(profiled.status == VMSRS_OK);
    BOOST_TEST(profiled.rsi == 1u);
    for (std::size_t i = 0; i < kWords; ++i) BOOST_REQUIRE_EQUAL(again.words[i], committed[i]);
    BOOST_TEST(next.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
    BOOST_TEST(recovery::EngineProbe::pool().used_bytes() == empty_bytes);
    BOOST_TEST(sound());
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(reaping)

BOOST_AUTO_TEST_CASE(sound_between_all_pieces) {
  std::uint64_t pieces = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Fixture f;
    f.work(seed);
    Client late = Fixture::user(0);
    for (vmsrs_status status = VMSRS_AGAIN; status == VMSRS_AGAIN;) {
      status = f.piece(1 + static_cast<std::uint32_t>(seed % 6));
      if (status != VMSRS_AGAIN) break;
      ++pieces;
      BOOST_REQUIRE(f.sound());
      BOOST_REQUIRE_EQUAL(f.info().process_count, 1u);
      for (const std::uint64_t call : {VMSRS_CALL_USER_BEGIN, VMSRS_CALL_STORE, VMSRS_CALL_DETACH})
        BOOST_REQUIRE_EQUAL(late.call(call, 1).status, VMSRS_NOT_ATTACHED);
    }
    f.expect_gone();
    BOOST_TEST(f.piece(1) == VMSRS_WRONG_STATE);
    f.expect_committed();
  }
  BOOST_TEST(pieces > 1000u);
}

// Who comes in between goes on with what somebody has begun.
BOOST_AUTO_TEST_CASE(an_attach_in_between) {
  Fixture f;
  f.work(7);
  BOOST_TEST(f.piece(1) == VMSRS_AGAIN);
  f.expect_committed();
}

// The same page-table root in a new process of the same number, or of another one.
BOOST_AUTO_TEST_CASE(an_attach_from_the_same_address_space) {
  for (const std::uint32_t process : {kFirst, kSecond}) {
    Fixture f;
    f.work(8);
    BOOST_TEST(f.service.attach("shop", secret_of(1), kFirst).status == VMSRS_BUSY);
    BOOST_TEST(f.piece(1) == VMSRS_AGAIN);
    BOOST_TEST(f.service.attach("shop", secret_of(1), process).status == VMSRS_OK);
    BOOST_TEST(f.info().process_count == 1u);
    BOOST_TEST(f.info().region_count == 0u);
  }
}

// As many users as there may be, each with records: no call does it all.
BOOST_AUTO_TEST_CASE(a_large_process) {
  Fixture f;
  for (std::uint64_t number = 0; number < VMSRS_MAX_USERS; ++number) {
    Client one = Fixture::user(number);
    BOOST_REQUIRE_EQUAL(one.call(VMSRS_CALL_USER_BEGIN, number).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(f.store(one, &f.given_up.words[number % kWords], number), VMSRS_OK);
    if (number % 2 == 0) (void)one.crash();
  }
  std::uint64_t pieces = 0;
  while (f.manager.call(VMSRS_CALL_MGMT_REAP, f.token, 0, kFirst).status == VMSRS_AGAIN) ++pieces;
  BOOST_TEST(pieces > 4u);
  BOOST_TEST(pieces < 20u);
  f.expect_gone();
  f.expect_committed();
}

BOOST_AUTO_TEST_CASE(an_attach_goes_in_pieces_too) {
  Fixture f;
  for (std::uint64_t number = 0; number < VMSRS_MAX_USERS; ++number) {
    Client one = Fixture::user(number);
    BOOST_REQUIRE_EQUAL(one.call(VMSRS_CALL_USER_BEGIN, number).status, VMSRS_OK);
  }
  BOOST_TEST(f.piece(1) == VMSRS_AGAIN);
  Client next(0x200000, 0xd000);
  std::uint64_t pieces = 0;
  while (next.attach_piece("shop", secret_of(1), kSecond).status == VMSRS_AGAIN) ++pieces;
  BOOST_TEST(pieces > 2u);
  BOOST_TEST(f.info().process_count == 1u);
  BOOST_TEST(f.info().process_id == kSecond);
}

BOOST_AUTO_TEST_SUITE_END()
