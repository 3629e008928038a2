// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <functional>

#include "fixture.hpp"

// Each invariant finds the damage that is its own, and no other speaks up. A crashed and an active
// user with records are there while the damage is looked for.
using namespace vmsrs::test;
using vmsrs::recovery::EngineProbe;
using vmsrs::recovery::Record;
using vmsrs::recovery::RecordId;

namespace {

struct Fixture : OneServer<> {
  Fixture() {
    begin(a);
    store(a, 0, 1);
    store(a, 64, 1);
    begin(b);
    store(b, 0, 2);
    store(b, 128, 2);
    a.crash();
    serve();  // the sweep: what is damaged below is damaged after it
  }

  RecordId top(std::uint32_t granule) { return ledger().regions[0].heads[granule]; }
  void reseal(RecordId id) { seal(ledger().at(id), id); }

  // Only `wanted` is violated; returns its result.
  vmsrs_check_result only(vmsrs_invariant wanted) {
    const vmsrs_check_report report = check();
    for (int i = 0; i < VMSRS_CHECK_COUNT; ++i) {
      const bool violated = report.results[i].verdict == VMSRS_VERDICT_VIOLATED;
      BOOST_TEST(violated == (i == wanted), "invariant " << i << ": " << violated);
      BOOST_TEST((report.results[i].violation_count > 0) == violated);
    }
    return report.results[wanted];
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(invariants, Fixture)

BOOST_AUTO_TEST_CASE(all_hold_and_all_looked) {
  const vmsrs_check_report report = check();
  for (const vmsrs_check_result& result : report.results) {
    BOOST_TEST(result.verdict == std::uint32_t{VMSRS_VERDICT_OK});
    BOOST_TEST(result.examined_count > 0u);
  }
}

BOOST_AUTO_TEST_CASE(hidden) {
  vmsrs_check_result open_door{};
  open_door.verdict = VMSRS_VERDICT_VIOLATED;
  open_door.violation_count = 1;
  open_door.detail = 0x1234;
  machine.platform.set_hidden_result(open_door);
  BOOST_TEST(only(VMSRS_CHECK_HIDDEN).detail == 0x1234u);
}

// The walk over what guards hidden memory goes on at each call, and nothing is said before its end.
BOOST_AUTO_TEST_CASE(hidden_in_pieces) {
  vmsrs_check_result open_door{};
  open_door.verdict = VMSRS_VERDICT_VIOLATED;
  open_door.violation_count = 1;
  constexpr std::uint64_t kPieces = 50;
  machine.platform.set_hidden_result(open_door, kPieces);
  for (int round = 0; round < 2; ++round) {
    vmsrs_check_report report{};
    for (std::uint64_t piece = 0; piece < kPieces; ++piece) {
      BOOST_TEST(manager
                     .call(VMSRS_CALL_MGMT_CHECK, token, piece == 0 ? 1 : 0, address_of(&report),
                           sizeof report)
                     .status == VMSRS_AGAIN);
      BOOST_TEST(report.results[VMSRS_CHECK_HIDDEN].verdict ==
                 std::uint32_t{VMSRS_VERDICT_PENDING});
    }
    BOOST_TEST(only(VMSRS_CHECK_HIDDEN).violation_count == 1u);
  }
}

BOOST_AUTO_TEST_CASE(storage_page_used_and_free_at_once) {
  EngineProbe::bitmap()[(EngineProbe::page_count() - 1) / 64] ^= 1ull << 63;
  (void)only(VMSRS_CHECK_STORAGE);
}

BOOST_AUTO_TEST_CASE(storage_flipped_bit_in_a_record) {
  ledger().at(top(8)).bytes[3] ^= 4;
  BOOST_TEST(only(VMSRS_CHECK_STORAGE).detail == 8u);
}

BOOST_AUTO_TEST_CASE(storage_free_list_leads_into_a_living_record) {
  // The page's next free place is its first one, which lives.
  const RecordId living = top(0);
  Record& header = ledger().at(living / 32 * 32);
  std::uint32_t first = 1;
  std::memcpy(reinterpret_cast<std::uint8_t*>(&header) + 20, &first, sizeof first);
  (void)only(VMSRS_CHECK_STORAGE);
}

BOOST_AUTO_TEST_CASE(storage_page_of_records_out_of_its_list) {
  const std::uint32_t page = top(0) / 32;
  Record& header = ledger().at(page * 32);
  std::memcpy(reinterpret_cast<std::uint8_t*>(&header) + 8, &page, sizeof page);  // after itself
  BOOST_TEST(only(VMSRS_CHECK_STORAGE).detail == page);
}

BOOST_AUTO_TEST_CASE(chains_out_of_order) {
  Record& newest = ledger().at(top(0));
  newest.sequence = 0;
  reseal(top(0));
  BOOST_TEST(only(VMSRS_CHECK_CHAINS).detail == 0u);
}

BOOST_AUTO_TEST_CASE(chains_empty_record) {
  ledger().at(top(8)).mask = 0;
  reseal(top(8));
  (void)only(VMSRS_CHECK_CHAINS);
}

BOOST_AUTO_TEST_CASE(chains_head_that_leads_nowhere) {
  auto& heads = ledger().regions[0].heads;
  heads.set(100, 12345);
  (void)only(VMSRS_CHECK_CHAINS);
  heads.set(100, vmsrs::recovery::kNoRecord);
}

BOOST_AUTO_TEST_CASE(storage_page_of_heads) {
  const std::uint32_t page = ledger().regions[0].heads.page_of(8);
  auto* const heads = static_cast<vmsrs::recovery::Heads::Page*>(EngineProbe::pool().address(page));
  ++heads->place;
  (void)only(VMSRS_CHECK_STORAGE);
  --heads->place;
  ++heads->used;
  (void)only(VMSRS_CHECK_STORAGE);
  --heads->used;
}

BOOST_AUTO_TEST_CASE(users_mode_without_reason) {
  EngineProbe::mode(0) ^= VMSRS_MODE_SUPPRESSION;
  EngineProbe::publish(0);
  (void)only(VMSRS_CHECK_USERS);
  EngineProbe::mode(0) ^= VMSRS_MODE_SUPPRESSION;
}

BOOST_AUTO_TEST_CASE(users_generation_goes_back) {
  begin(c);
  end(c);
  BOOST_TEST(sound());
  --ledger().users[2].generation;
  EngineProbe::publish(0);
  BOOST_TEST(only(VMSRS_CHECK_USERS).detail == 2u);
}

BOOST_AUTO_TEST_CASE(users_record_of_an_earlier_generation) {
  ++ledger().at(top(8)).generation;
  reseal(top(8));
  BOOST_TEST(only(VMSRS_CHECK_USERS).detail == 1u);
}

BOOST_AUTO_TEST_CASE(mirror_of_an_unowned_granule) {
  memory[2000] ^= 1;
  const vmsrs_check_result result = only(VMSRS_CHECK_MIRROR);
  BOOST_TEST(result.detail == 2000u / 16 * 16);
  BOOST_TEST(result.violation_count == 1u);
  BOOST_TEST(memory[2000] == (static_cast<std::uint8_t>(2000) ^ 1));  // found, not repaired
  BOOST_TEST(info().sweep_restore_count == 0u);
}

BOOST_AUTO_TEST_CASE(mirror_itself_damaged) {
  ledger().regions[0].mirror[4000] ^= 1;
  (void)only(VMSRS_CHECK_MIRROR);
}

BOOST_AUTO_TEST_CASE(collected_user_that_still_owns_bytes) {
  ledger().users[0].restored = true;
  BOOST_TEST(only(VMSRS_CHECK_COLLECTED).detail == 0u);
}

BOOST_AUTO_TEST_CASE(accounting_of_records) {
  ++EngineProbe::value(ledger().record_count);
  (void)only(VMSRS_CHECK_ACCOUNTING);
}

BOOST_AUTO_TEST_CASE(accounting_of_contended_granules) {
  ++EngineProbe::value(ledger().contended_granules);
  (void)only(VMSRS_CHECK_ACCOUNTING);
}

BOOST_AUTO_TEST_CASE(accounting_of_users) {
  ++EngineProbe::counters(0).finished;
  (void)only(VMSRS_CHECK_ACCOUNTING);
}

BOOST_AUTO_TEST_CASE(window_shows_another_mode) {
  machine.platform.window(0)->status.mode = 0;
  (void)only(VMSRS_CHECK_WINDOWS);
}

BOOST_AUTO_TEST_CASE(window_shows_another_count_of_freed_granules) {
  ++machine.platform.window(0)->status.freed;
  (void)only(VMSRS_CHECK_WINDOWS);
}

BOOST_AUTO_TEST_CASE(window_shows_another_user_state) {
  machine.platform.window(0)->users[77] = 1;
  BOOST_TEST(only(VMSRS_CHECK_WINDOWS).detail == 77u);
}

// ---- waiting for the server

BOOST_AUTO_TEST_CASE(mirror_is_pending_until_the_server_answers) {
  vmsrs_check_report report{};
  const auto ask = [&](std::uint64_t anew) {
    return manager.call(VMSRS_CALL_MGMT_CHECK, token, anew, address_of(&report), sizeof report)
        .status;
  };
  BOOST_TEST(ask(1) == VMSRS_AGAIN);
  const auto pending = [&](vmsrs_invariant which) {
    return report.results[which].verdict == VMSRS_VERDICT_PENDING;
  };
  while (pending(VMSRS_CHECK_STORAGE)) BOOST_REQUIRE(ask(0) == VMSRS_AGAIN);
  BOOST_TEST(report.results[VMSRS_CHECK_MIRROR].verdict == std::uint32_t{VMSRS_VERDICT_PENDING});
  BOOST_TEST(ask(0) == VMSRS_AGAIN);
  while (service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN) {
  }
  BOOST_TEST(ask(0) == VMSRS_OK);
  BOOST_TEST(report.results[VMSRS_CHECK_MIRROR].examined_count == sizeof memory / 16);
  BOOST_TEST(ask(0) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(mirror_of_unreadable_memory_is_unverified) {
  service.memory.set_page(memory, HostMemory::Page::kForbidden);
  const vmsrs_check_report report = check();
  BOOST_TEST(report.results[VMSRS_CHECK_MIRROR].verdict == std::uint32_t{VMSRS_VERDICT_UNVERIFIED});
}

BOOST_AUTO_TEST_CASE(server_that_dies_meanwhile_leaves_nothing_pending) {
  vmsrs_check_report report{};
  const vmsrs_status status = manager.check(token, report, [this] {
    (void)manager.reap(token, 0, kServerProcess);
  });
  BOOST_TEST(status == VMSRS_OK);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(nobody_attached_is_nothing_to_compare) {
  Machine machine;
  Client manager(kManagerSpace);
  const std::uint64_t token = manager.open().rdx;
  const auto nobody = [] { BOOST_FAIL("nobody has to answer"); };
  vmsrs_check_report report{};
  BOOST_TEST(manager.check(token, report, nobody) == VMSRS_OK);
  (void)manager.define(token, "shop", secret_of(1));
  BOOST_TEST(manager.check(token, report, nobody) == VMSRS_OK);
  for (const vmsrs_check_result& result : report.results)
    BOOST_TEST(result.verdict == std::uint32_t{VMSRS_VERDICT_OK});
}
