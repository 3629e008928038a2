// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <numeric>
#include <vector>

#include "fixture.hpp"

// What management sees and does: counters, lists of users, collection before the end point.
using namespace vmsrs::test;

namespace {

struct Fixture : OneServer<> {
  std::vector<vmsrs_user_info> users(std::size_t room = 3) {
    std::vector<vmsrs_user_info> all;
    std::vector<vmsrs_user_info> piece(room);
    std::uint64_t cursor = 0;
    do {
      const Result result = manager.call(VMSRS_CALL_MGMT_USERS, token, 0, cursor,
                                         address_of(piece.data()), room * sizeof piece[0]);
      BOOST_REQUIRE(result.status == VMSRS_OK);
      all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(result.rdx));
      cursor = result.rsi;
    } while (cursor != 0);
    return all;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(management, Fixture)

BOOST_AUTO_TEST_CASE(structures_are_cut_to_the_callers_length) {
  std::uint8_t buffer[sizeof(vmsrs_server_info) + 8];
  std::memset(buffer, 0xee, sizeof buffer);
  const Result result =
      manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(buffer), VMSRS_NAME_BYTES);
  BOOST_TEST(result.rdx == VMSRS_NAME_BYTES);
  BOOST_TEST(std::memcmp(buffer, "shop", 5) == 0);
  BOOST_TEST(buffer[VMSRS_NAME_BYTES] == 0xee);
  BOOST_TEST(
      manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(buffer), sizeof buffer).rdx ==
      sizeof(vmsrs_server_info));
  BOOST_TEST(buffer[sizeof(vmsrs_server_info)] == 0xee);
}

BOOST_AUTO_TEST_CASE(host_statistics) {
  begin(a);
  a.crash(VMSRS_FAULT_BUS);
  a.crash(VMSRS_FAULT_BUS);
  vmsrs_stats stats{};
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats).rdx ==
             sizeof stats);
  BOOST_TEST(stats.abi_version == VMSRS_ABI_VERSION);
  BOOST_TEST(stats.isolation == std::uint32_t{VMSRS_ISOLATION_NONE});
  BOOST_TEST(stats.server_count == 1u);
  BOOST_TEST(stats.storage_bytes == Machine::kStorageBytes);
  BOOST_TEST(stats.storage_used_bytes > 0u);
  BOOST_TEST(stats.faults[VMSRS_FAULT_BUS] == 2u);
}

BOOST_AUTO_TEST_CASE(exits_of_each_cpu) {
  vmsrs_exits exits{};
  BOOST_TEST(
      manager.call(VMSRS_CALL_MGMT_EXITS, token, 1, address_of(&exits), sizeof exits).status ==
      VMSRS_OK);
  BOOST_TEST(exits.cpu == 1u);
}

BOOST_AUTO_TEST_CASE(server_counters_over_a_crash) {
  begin(a);
  store(a, 0, 1);
  store(a, 64, 1);
  begin(b);
  store(b, 0, 2);
  vmsrs_server_info seen = info();
  BOOST_TEST(seen.attached == 1u);
  BOOST_TEST(seen.process_id == kServerProcess);
  BOOST_TEST(seen.region_count == 1u);
  BOOST_TEST(seen.region_bytes == sizeof memory);
  BOOST_TEST(seen.active_users == 2u);
  BOOST_TEST(seen.record_count == 3u);
  BOOST_TEST(seen.contended_granules == 1u);
  BOOST_TEST(seen.store_count == 3u);
  a.crash();
  machine.platform.advance_ns(7'000'000);
  seen = info();
  BOOST_TEST(seen.active_users == 1u);
  BOOST_TEST(seen.crashed_users == 1u);
  BOOST_TEST(seen.oldest_suppression_age_ns >= 7'000'000u);
  BOOST_TEST(seen.suppression_ns >= 7'000'000u);
  BOOST_TEST(seen.suppression_count == 0u);
  BOOST_TEST(seen.faults[VMSRS_FAULT_WILD] == 1u);
  (void)load(b, 64);
  bury(a);
  end(b);
  seen = info();
  BOOST_TEST(seen.mode == mode());
  BOOST_TEST(seen.user_count == 2u);
  BOOST_TEST(seen.finished_count == 1u);
  BOOST_TEST(seen.collected_count == 1u);
  BOOST_TEST(seen.suppression_count == 1u);
  BOOST_TEST(seen.suppression_histogram[2] == 1u);  // 5 to 10 ms
  BOOST_TEST(seen.ended_suppression_ns >= 7'000'000u);
  BOOST_TEST(seen.demand_restore_count == 1u);
  BOOST_TEST(seen.load_count == 1u);
  BOOST_TEST(seen.contended_granules == 0u);
  BOOST_TEST(seen.record_count == 0u);
  BOOST_TEST(seen.oldest_suppression_age_ns == 0u);
}

BOOST_AUTO_TEST_CASE(work_as_seen_by_management) {
  const auto work = [&] {
    vmsrs_server_work seen{};
    const Result result =
        manager.call(VMSRS_CALL_MGMT_WORK, token, 0, address_of(&seen), sizeof seen);
    BOOST_TEST(result.status == VMSRS_OK);
    BOOST_TEST(result.rdx == sizeof seen);
    return seen;
  };
  const auto sum = [](const auto& values) {
    return std::accumulate(std::begin(values), std::end(values), std::uint64_t{0});
  };
  begin(a);
  store(a, 64, 5);
  store(a, 128, 6);
  a.crash();
  begin(b);
  (void)load(b, 64);
  bury(a);
  end(b);
  const vmsrs_server_work seen = work();
  BOOST_TEST(sum(seen.restore_histogram[VMSRS_RESTORED_DEMAND]) == 1u);
  BOOST_TEST(sum(seen.restore_histogram[VMSRS_RESTORED_COLLECTION]) == 1u);
  BOOST_TEST(sum(seen.restore_histogram[VMSRS_RESTORED_CRASH]) == 0u);
  BOOST_TEST(seen.restore_cycles[VMSRS_RESTORED_DEMAND] > 0u);
  BOOST_TEST(sum(seen.restore_cycles) == info().restore_cycles);
  const auto calls = [&](vmsrs_call call) { return seen.calls[call - VMSRS_CALL_ATTACH]; };
  BOOST_TEST(calls(VMSRS_CALL_STORE) == 2u);
  BOOST_TEST(calls(VMSRS_CALL_LOAD) == 1u);
  BOOST_TEST(calls(VMSRS_CALL_USER_BEGIN) == 2u);
  BOOST_TEST(calls(VMSRS_CALL_USER_CRASH) == 1u);
}

BOOST_AUTO_TEST_CASE(heaps_as_the_server_reports_them) {
  BOOST_TEST(info().quarantined_free_count == 0u);
  BOOST_TEST(a.call(VMSRS_CALL_REPORT_HEAPS, 12).status == VMSRS_OK);
  BOOST_TEST(info().quarantined_free_count == 12u);
  BOOST_TEST(a.call(VMSRS_CALL_REPORT_HEAPS, 1ull << 32).status == VMSRS_BAD_ARGUMENT);
  BOOST_TEST(b.call(VMSRS_CALL_REPORT_HEAPS, 3).status == VMSRS_OK);
  BOOST_TEST(info().quarantined_free_count == 3u);
}

BOOST_AUTO_TEST_CASE(containment_is_kept_and_shown) {
  BOOST_TEST(window().status.containment == std::uint32_t{VMSRS_SERVER_OWN});
  for (const std::uint32_t mode : {VMSRS_SERVER_OFF, VMSRS_SERVER_CONTAIN, VMSRS_SERVER_OBSERVE}) {
    BOOST_TEST(manager.call(VMSRS_CALL_MGMT_CONTAINMENT, token, 0, mode).status == VMSRS_OK);
    BOOST_TEST(window().status.containment == mode);
    BOOST_TEST(info().containment == mode);
  }
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  (void)manager.define(token, "shop", secret_of(1));
  (void)a.attach("shop", secret_of(1), kServerProcess);
  BOOST_TEST(window().status.containment == std::uint32_t{VMSRS_SERVER_OBSERVE});
  BOOST_TEST(info().containment == std::uint32_t{VMSRS_SERVER_OBSERVE});
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(labels_of_users) {
  const auto label = [&](std::uint64_t slot, std::uint64_t generation) {
    char text[VMSRS_LABEL_BYTES];
    const Result result = manager.call(VMSRS_CALL_MGMT_LABEL, token, 0, slot, generation,
                                       address_of(text), sizeof text);
    return result.status == VMSRS_OK ? std::string(text, result.rdx) : "none";
  };
  const auto tell = [](Client& user, const std::string& text) {
    return user.call(VMSRS_CALL_USER_LABEL, address_of(text.data()), text.size()).status;
  };
  begin(a);
  BOOST_TEST(tell(a, "first") == VMSRS_OK);
  BOOST_TEST(label(0, 0) == "first");
  BOOST_TEST(tell(a, std::string(64, 'x')) == VMSRS_OK);
  BOOST_TEST(tell(a, std::string(65, 'x')) == VMSRS_BAD_LENGTH);
  BOOST_TEST(label(0, 0) == std::string(64, 'x'));
  BOOST_TEST(users()[0].label_bytes == 64u);
  BOOST_TEST(label(0, 1) == "none");
  BOOST_TEST(label(1, 0) == "none");
  // The slot's next user, which its thread goes on with, has no label of the one before.
  BOOST_TEST(a.call(VMSRS_CALL_USER_END, 0, VMSRS_USER_KEEP).status == VMSRS_OK);
  BOOST_TEST(label(0, 0) == "none");
  BOOST_TEST(label(0, 1) == "");
  a.crash();
  BOOST_TEST(users()[0].label_bytes == 0u);
  BOOST_TEST(tell(a, "crashed") == VMSRS_OK);
  begin(b);
  BOOST_TEST(tell(b, "b") == VMSRS_OK);
  BOOST_TEST(tell(b, "") == VMSRS_OK);
  BOOST_TEST(label(1, 0) == "");
  bury(a);
  begin(a);
  BOOST_TEST(tell(a, "next") == VMSRS_OK);
  BOOST_TEST(label(0, 1) == "crashed");  // remembered with its user
  BOOST_TEST(label(0, 2) == "next");
  end(a);
  end(b);
}

BOOST_AUTO_TEST_CASE(users_under_suppression_and_collected) {
  BOOST_TEST(users().empty());
  a.call(VMSRS_CALL_USER_BEGIN, 42);
  store(a, 0, 1);
  a.crash(VMSRS_FAULT_NULL);
  store(a, 0, 2);
  begin(b);
  auto list = users();
  BOOST_REQUIRE(list.size() == 2u);
  BOOST_TEST(list[0].label == 42u);
  BOOST_TEST(list[0].state == std::uint32_t{VMSRS_USER_CRASHED});
  BOOST_TEST(list[0].fault.kind == std::uint32_t{VMSRS_FAULT_NULL});
  BOOST_TEST(list[0].fault.address == 0xdeadu);
  BOOST_TEST(list[0].suppressed_store_count == 1u);
  BOOST_TEST(list[0].record_count == 1u);
  BOOST_TEST(list[1].state == std::uint32_t{VMSRS_USER_ACTIVE});
  bury(a);
  list = users();
  BOOST_REQUIRE(list.size() == 2u);
  BOOST_TEST(list[1].label == 42u);
  BOOST_TEST(list[1].state == std::uint32_t{VMSRS_USER_FREE});
  BOOST_TEST(list[1].restore_count == 1u);
  BOOST_TEST(list[1].record_count == 0u);
}

BOOST_AUTO_TEST_CASE(long_lists_come_in_pieces_without_gaps) {
  constexpr unsigned kCollected = VMSRS_RECENT_USERS + 36;
  for (unsigned i = 0; i < kCollected; ++i) {
    a.call(VMSRS_CALL_USER_BEGIN, i);
    a.crash();
    bury(a);
  }
  std::vector<Client> open;
  for (std::uint64_t i = 0; i < 40; ++i) (void)begin(open.emplace_back(thread(0x100000 * i)));
  for (const std::size_t room : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
    const auto list = users(room);
    BOOST_REQUIRE(list.size() == 40 + VMSRS_RECENT_USERS);
    for (std::size_t i = 0; i < VMSRS_RECENT_USERS; ++i)
      BOOST_TEST(list[40 + i].label == kCollected - VMSRS_RECENT_USERS + i);
  }
}

BOOST_AUTO_TEST_CASE(collection_before_the_end_point) {
  const std::uint64_t initial = word(0);
  begin(a);
  store(a, 0, 1);
  store(a, 64, 1);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull).status == VMSRS_OK);
  a.crash();
  serve();  // the sweep
  const std::uint64_t requests = window().status.service_request;
  const Result asked = manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, 0);
  BOOST_TEST(asked.status == VMSRS_AGAIN);
  BOOST_TEST(asked.rdx == 2u);
  BOOST_TEST(window().status.service_request == requests + 1);
  BOOST_TEST(word(0) == 1u);  // never into a foreign address space
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_OK);
  BOOST_TEST(word(0) == initial);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, 0).status == VMSRS_OK);
  BOOST_TEST(suppressing());
  BOOST_TEST(store(a, 0, 3) == VMSRS_CRASHED);
  BOOST_TEST(info().crashed_users == 1u);
  BOOST_TEST(info().collected_count == 0u);
  BOOST_TEST(sound());
  bury(a);
  BOOST_TEST(!suppressing());
  BOOST_TEST(info().collected_count == 1u);
}

BOOST_AUTO_TEST_CASE(service_works_in_pieces_and_through_touches) {
  begin(a);
  begin(b);
  a.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 1, 300 * 16);
  b.call(VMSRS_CALL_FILL_RANGE, address_of(memory + 300 * 16), 1, 100 * 16);
  a.crash();
  b.crash();
  serve();  // the sweeps
  (void)manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull);
  service.memory.set_page(memory, HostMemory::Page::kNotPresent);
  const Result touch = service.call(VMSRS_CALL_SERVICE);
  BOOST_TEST(touch.status == VMSRS_TOUCH);
  service.memory.touch(touch.rdx);
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN);
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_OK);
  BOOST_TEST(ledger().record_count == 0u);
  BOOST_TEST(info().collect_restore_count == 400u);
}

// A request that nobody answered is called out again, but not at every question.
BOOST_AUTO_TEST_CASE(service_is_called_again_after_a_while) {
  begin(a);
  store(a, 0, 1);
  a.crash();
  (void)manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull);
  const std::uint64_t requests = window().status.service_request;
  (void)manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull);
  BOOST_TEST(window().status.service_request == requests);
  machine.platform.advance_ns(200'000'000);
  (void)manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull);
  BOOST_TEST(window().status.service_request == requests + 1);
}

BOOST_AUTO_TEST_CASE(the_log_goes_on_where_it_stopped) {
  machine.platform.set_log(5, 40);
  vmsrs_log_line lines[20];
  const auto read = [&](std::uint64_t cursor, std::size_t room) {
    return manager.call(VMSRS_CALL_MGMT_LOG, token, cursor, address_of(lines),
                        room * sizeof lines[0]);
  };
  Result result = read(0, 20);
  BOOST_TEST(result.status == VMSRS_OK);
  BOOST_TEST(result.rdx == 16u);  // of one call
  BOOST_TEST(result.rsi == 21u);
  BOOST_TEST(lines[0].sequence == 5u);
  BOOST_TEST(std::string(lines[15].text, lines[15].length) == "line 20");
  result = read(result.rsi, 3);
  BOOST_TEST(result.rdx == 3u);
  BOOST_TEST(result.rsi == 24u);
  BOOST_TEST(lines[0].sequence == 21u);
  result = read(44, 20);
  BOOST_TEST(result.rdx == 1u);
  result = read(result.rsi, 20);
  BOOST_TEST(result.rdx == 0u);
  BOOST_TEST(result.rsi == 45u);
  BOOST_TEST(read(~0ull, 1).rdx == 0u);
}

BOOST_AUTO_TEST_CASE(ends_of_the_guest) {
  for (const std::uint32_t kind : {VMSRS_GUEST_PANIC, VMSRS_GUEST_HANG, VMSRS_GUEST_RESET})
    machine.platform.add_guest_end(kind);
  vmsrs_guest_end ends[4];
  const auto read = [&](std::uint64_t cursor, std::size_t bytes) {
    return manager.call(VMSRS_CALL_MGMT_GUEST_ENDS, token, cursor, address_of(ends), bytes);
  };
  Result result = read(0, 3 * sizeof ends[0] - 1);
  BOOST_TEST(result.status == VMSRS_OK);
  BOOST_TEST(result.rdx == 2u);
  BOOST_TEST(result.rsi == 3u);
  BOOST_TEST(ends[1].kind == static_cast<std::uint32_t>(VMSRS_GUEST_HANG));
  result = read(result.rsi, sizeof ends);
  BOOST_TEST(result.rdx == 1u);
  BOOST_TEST(ends[0].sequence == 3u);
  BOOST_TEST(read(result.rsi, sizeof ends).rdx == 0u);

  vmsrs_guest_cpu cpu{};
  result = manager.call(VMSRS_CALL_MGMT_GUEST_CPU, token, 2, 1, address_of(&cpu), sizeof cpu);
  BOOST_TEST(result.rdx == sizeof cpu);
  BOOST_TEST(cpu.cpu == 1u);
  BOOST_TEST(cpu.rip == 0x2000u);
}

BOOST_AUTO_TEST_CASE(a_reset_is_announced_and_taken_back) {
  const auto announce = [&](std::uint64_t wanted) {
    return manager.call(VMSRS_CALL_MGMT_ANNOUNCE_RESET, token, wanted).status;
  };
  BOOST_TEST(announce(1) == VMSRS_OK);
  BOOST_TEST(machine.platform.reset_is_announced());
  BOOST_TEST(announce(0) == VMSRS_OK);
  BOOST_TEST(!machine.platform.reset_is_announced());
}

BOOST_AUTO_TEST_CASE(the_memory_map_is_cut_to_what_fits) {
  vmsrs_memory_range ranges[3];
  const auto read = [&](std::size_t bytes) {
    return manager.call(VMSRS_CALL_MGMT_MEMORY, token, address_of(ranges), bytes).rdx;
  };
  BOOST_TEST(read(sizeof ranges) == 2u);
  BOOST_TEST(ranges[1].use == static_cast<std::uint32_t>(VMSRS_MEMORY_STORAGE));
  ranges[1].use = 77;
  BOOST_TEST(read(2 * sizeof ranges[0] - 1) == 1u);
  BOOST_TEST(ranges[1].use == 77u);
}

BOOST_AUTO_TEST_SUITE_END()
