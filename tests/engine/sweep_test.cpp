// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <vector>

#include "fixture.hpp"

// What never went through the library: plain stores into a region, found and mended by the sweep
// after a crash and by a scrub (point 7 of the contract).
using namespace vmsrs::test;
using vmsrs::recovery::EngineProbe;

namespace {

constexpr std::uint64_t kAll = ~0ull;

struct Fixture : OneServer<> {
  Result scrub(std::uint64_t bytes = kAll, std::uint64_t index = 0) {
    return manager.call(VMSRS_CALL_MGMT_SCRUB, token, index, bytes);
  }
  // Asks, is served, and asks again.
  Result scrub_to_end() {
    (void)scrub();
    serve();
    return scrub(0);
  }
  static std::uint8_t initial(std::size_t at) { return static_cast<std::uint8_t>(at); }
  std::uint64_t restored() { return info().sweep_restore_count; }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(sweep, Fixture)

BOOST_AUTO_TEST_CASE(scrub_restores_what_nobody_owns_and_counts_granules) {
  memory[17] ^= 1;
  memory[31] ^= 1;  // the same granule
  memory[sizeof memory - 1] ^= 0x80;
  BOOST_TEST(scrub().status == VMSRS_AGAIN);
  BOOST_TEST(scrub(0).rdx == sizeof memory);  // nobody has served it yet
  serve();
  const Result done = scrub(0);
  BOOST_TEST(done.status == VMSRS_OK);
  BOOST_TEST(done.rdx == 0u);
  BOOST_TEST(done.rsi == 2u);
  BOOST_TEST(restored() == 2u);
  for (std::size_t i = 0; i < sizeof memory; ++i) BOOST_TEST(memory[i] == initial(i));
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(crash_starts_a_sweep) {
  const std::uint64_t request = window().status.service_request;
  memory[100] ^= 1;
  begin(a);
  BOOST_TEST(memory[100] != initial(100));
  a.crash();
  BOOST_TEST(window().status.service_request > request);
  serve();
  BOOST_TEST(memory[100] == initial(100));
  BOOST_TEST(restored() == 1u);
  bury(a);
  serve();
  BOOST_TEST(restored() == 1u);
}

BOOST_AUTO_TEST_CASE(finishing_sweeps_nothing) {
  memory[100] ^= 1;
  begin(a);
  end(a);
  serve();
  BOOST_TEST(memory[100] != initial(100));
}

BOOST_AUTO_TEST_CASE(granule_of_an_unfinished_user_is_left_alone) {
  begin(a);
  store(a, 32, 7);
  memory[40] ^= 1;  // the same granule, bytes that a did not write
  (void)scrub_to_end();
  BOOST_TEST(memory[40] != initial(40));
  BOOST_TEST(load(a, 32) == 7u);
  end(a);
  (void)scrub_to_end();
  BOOST_TEST(memory[40] == initial(40));
  BOOST_TEST(word(32) == 7u);
  BOOST_TEST(restored() == 1u);
}

BOOST_AUTO_TEST_CASE(wild_store_over_a_finished_users_byte_gives_its_value_back) {
  begin(a);
  store(a, 64, 11);
  end(a);
  memory[64] = 99;
  (void)scrub_to_end();
  BOOST_TEST(word(64) == 11u);
}

// Settling writes the granule whole, so it needs no sweep.
BOOST_AUTO_TEST_CASE(wild_store_beside_a_crashed_users_byte_is_mended_by_a_load) {
  begin(a);
  store(a, 64, 11);
  a.crash();
  memory[72] ^= 1;
  BOOST_TEST(load(b, 64) == 0x4746454443424140u);
  BOOST_TEST(memory[72] == initial(72));
  BOOST_TEST(restored() == 0u);
}

BOOST_AUTO_TEST_CASE(check_only_looks_even_while_a_sweep_is_due) {
  begin(a);
  a.crash();
  memory[500] ^= 1;
  const vmsrs_check_report report = check();
  BOOST_TEST(report.results[VMSRS_CHECK_MIRROR].violation_count == 1u);
  BOOST_TEST(memory[500] == initial(500));  // by the sweep, after the check
  BOOST_TEST(sound());
}

// Many differences are mended in several calls, so that none takes long.
BOOST_AUTO_TEST_CASE(pieces_are_bounded) {
  for (std::size_t i = 0; i < sizeof memory; i += 16) memory[i] ^= 1;
  (void)scrub();
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN);
  BOOST_TEST(restored() == 256u);
  BOOST_TEST(scrub(0).rdx == sizeof memory - 256 * 16);
  serve();
  BOOST_TEST(restored() == sizeof memory / 16);
  BOOST_TEST(sound());
}

// A paced scrub: so many bytes a time, going on where the last one stopped, round and round.
BOOST_AUTO_TEST_CASE(paced_scrub_goes_on_where_it_stopped) {
  for (std::size_t i = 0; i < sizeof memory; i += 16) memory[i] ^= 1;
  for (std::size_t part = 1; part <= 4; ++part) {
    (void)scrub(sizeof memory / 4 - 1);
    serve();
    BOOST_TEST(restored() == part * sizeof memory / 64);
  }
  memory[0] ^= 1;
  (void)scrub(64);
  serve();
  BOOST_TEST(memory[0] == initial(0));
}

BOOST_AUTO_TEST_CASE(missing_page_is_asked_for_and_the_rest_goes_on) {
  memory[VMSRS_PAGE_BYTES + 5] ^= 1;
  service.memory.set_page(memory, HostMemory::Page::kNotPresent);
  service.memory.set_page(memory + VMSRS_PAGE_BYTES, HostMemory::Page::kReadOnly);
  (void)scrub();
  for (;;) {
    const Result result = service.call(VMSRS_CALL_SERVICE);
    if (result.status == VMSRS_OK) break;
    if (result.status == VMSRS_TOUCH) service.memory.touch(result.rdx);
  }
  BOOST_TEST(memory[VMSRS_PAGE_BYTES + 5] == initial(VMSRS_PAGE_BYTES + 5));
  BOOST_TEST(restored() == 1u);
}

BOOST_AUTO_TEST_CASE(memory_out_of_reach_is_passed_over) {
  alignas(64) std::uint8_t more[256] = {};
  BOOST_TEST(b.profile(more, sizeof more, 64).status == VMSRS_OK);
  service.memory.set_page(memory, HostMemory::Page::kForbidden);
  memory[0] ^= 1;
  more[0] ^= 1;
  BOOST_TEST(scrub_to_end().status == VMSRS_OK);
  BOOST_TEST(memory[0] != initial(0));
  BOOST_TEST(more[0] == 0);
  BOOST_TEST(restored() == 1u);
  memory[0] = initial(0);
  BOOST_TEST(b.call(VMSRS_CALL_UNPROFILE, 1).status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(region_that_comes_meanwhile_is_walked_too) {
  alignas(64) std::uint8_t more[256] = {};
  (void)scrub();
  BOOST_TEST(b.profile(more, sizeof more, 64).status == VMSRS_OK);
  BOOST_TEST(scrub(0).rdx == sizeof memory + sizeof more);
  more[200] = 1;
  memory[sizeof memory - 1] ^= 1;
  serve();
  BOOST_TEST(more[200] == 0);
  BOOST_TEST(memory[sizeof memory - 1] == initial(sizeof memory - 1));
  BOOST_TEST(b.call(VMSRS_CALL_UNPROFILE, 1).status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(region_that_goes_meanwhile_ends_its_part) {
  (void)scrub();
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, 0).status == VMSRS_OK);
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_OK);
  BOOST_TEST(scrub(0).status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(dead_server_leaves_nothing_pending) {
  BOOST_TEST(scrub().status == VMSRS_AGAIN);
  (void)manager.reap(token, 0, kServerProcess);
  BOOST_TEST(scrub(0).status == VMSRS_OK);
  BOOST_TEST(scrub().status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(one_server_or_all) {
  alignas(64) std::uint8_t other[128] = {};
  Client client(2 * kServerSpace, 0xe000);
  (void)manager.define(token, "other", secret_of(2));
  (void)client.attach("other", secret_of(2), 1);
  (void)client.profile(other, sizeof other, 8);
  BOOST_TEST(scrub(kAll, 1).rdx == sizeof other);
  BOOST_TEST(scrub(0, 0).status == VMSRS_OK);
  BOOST_TEST(scrub(kAll, kAll).rdx == sizeof other + sizeof memory);
  BOOST_TEST(scrub(kAll, 2).status == VMSRS_NOT_FOUND);
}

BOOST_AUTO_TEST_CASE(observers_may_not_scrub) {
  const std::uint64_t observer = manager.open(VMSRS_OBSERVE).rdx;
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_SCRUB, observer, 0, kAll).status == VMSRS_DENIED);
}

BOOST_AUTO_TEST_SUITE_END()

// Larger than one piece, and a difference in the last one.
BOOST_AUTO_TEST_CASE(large_region_is_swept_in_pieces) {
  OneServer<64, 4096> server;
  const std::size_t bytes = 3 * VMSRS_MAX_RANGE_BYTES;
  std::vector<std::uint64_t> memory(bytes / 8 + 8, 0x1122334455667788);
  auto* const start = reinterpret_cast<std::uint8_t*>((address_of(memory.data()) + 63) & ~63ull);
  BOOST_TEST(server.a.profile(start, bytes, 64).status == VMSRS_OK);
  start[bytes - 1] = 0;
  (void)server.manager.call(VMSRS_CALL_MGMT_SCRUB, server.token, 0, kAll);
  for (int piece = 0; piece < 3; ++piece)
    BOOST_TEST(server.service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN);
  BOOST_TEST(server.service.call(VMSRS_CALL_SERVICE).status == VMSRS_OK);
  BOOST_TEST(start[bytes - 1] == 0x11);
}
