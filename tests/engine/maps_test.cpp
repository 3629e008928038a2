// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <map>
#include <set>

#include "claim_shop.hpp"
#include "fixture.hpp"
#include "support/views.hpp"

// What management sees of regions and records.
using namespace vmsrs;
using namespace vmsrs::test;

namespace {

using Shop = ClaimShop;

struct Fixture : OneServer<> {
  vmsrs_region_map map() {
    return map_of(manager, token, 0, 0, [] { throw std::logic_error("nobody is needed"); });
  }
};

std::uint64_t sum(const vmsrs_region_map& map, std::uint32_t vmsrs_map_bucket::*part) {
  std::uint64_t sum = 0;
  for (const vmsrs_map_bucket& bucket : map.buckets) sum += bucket.*part;
  return sum;
}

std::uint64_t restored(const vmsrs_region_map& map) {
  std::uint64_t sum = 0;
  for (const vmsrs_map_bucket& bucket : map.buckets) sum += bucket.restored;
  return sum;
}

// A server with one large region with claims.
struct Large : ClaimServer {
  static constexpr std::size_t kBytes = 64 << 10;
  static constexpr unsigned kGranules = kBytes / 8;
  explicit Large(unsigned processes = 1) : ClaimServer({{kBytes, 8}}, 4096, processes) {}
  ClaimThread a{*this, 0xa000}, b{*this, 0xb000};

  vmsrs_region_map map() {
    return map_of(manager, token, 0, 0, [this] { serve(); });
  }
};

struct LargeOfTwo : Large {
  LargeOfTwo() : Large(2) {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(maps)

BOOST_FIXTURE_TEST_CASE(a_region_is_described, Fixture) {
  const auto regions = list_regions(manager, token, 0);
  BOOST_REQUIRE(regions.size() == 1u);
  const vmsrs_region_info& region = regions[0];
  BOOST_TEST(region.name[0] == 0);
  BOOST_TEST(region.region == 0u);
  BOOST_TEST(region.state == std::uint32_t{VMSRS_REGION_LIVE});
  BOOST_TEST(region.bytes == sizeof memory);
  BOOST_TEST(region.filled_bytes == sizeof memory);
  BOOST_TEST(region.granule_bytes == 16u);
  BOOST_TEST(region.flags == 0u);
  BOOST_TEST(region.process_count == 1u);
  BOOST_TEST(region.process_id == kServerProcess);
  BOOST_TEST(region.address == address_of(memory));
  BOOST_TEST(region.record_count == 0u);
  BOOST_TEST(region.mirror_pages == 2u);
  BOOST_TEST(region.head_pages == 1u);
  BOOST_TEST(region.restore_count == 0u);
  begin(a);
  store(a, 0, 1);
  store(a, 256, 1);
  BOOST_TEST(list_regions(manager, token, 0)[0].record_count == 2u);
  BOOST_TEST(list_regions(manager, token, 0)[0].head_pages == 2u);
  a.crash();
  bury(a);
  BOOST_TEST(list_regions(manager, token, 0)[0].record_count == 0u);
  BOOST_TEST(list_regions(manager, token, 0)[0].restore_count == 2u);
}

BOOST_FIXTURE_TEST_CASE(regions_come_in_pages_of_any_size, Shop) {
  for (const std::size_t room : {1u, 2u, 16u}) {
    const auto all = list_regions(manager, token, 0, room);
    BOOST_REQUIRE(all.size() == 2u);
    for (std::uint32_t i = 0; i < 2; ++i) {
      BOOST_TEST(all[i].region == i);
      BOOST_TEST(all[i].flags == VMSRS_REGION_CLAIMS);
      BOOST_TEST(all[i].address == address_of(region(i)));
    }
    BOOST_TEST(all[0].granule_bytes == 64u);
    BOOST_TEST(all[1].granule_bytes == 8u);
  }
}

BOOST_AUTO_TEST_CASE(an_eager_region_says_so) {
  ClaimShop shop(true);
  BOOST_TEST(list_regions(shop.manager, shop.token, 0)[0].flags ==
             (VMSRS_REGION_CLAIMS | VMSRS_REGION_EAGER));
}

// What it holds is kept; nobody has it, so nobody owns anything in it.
BOOST_FIXTURE_TEST_CASE(a_kept_region_has_no_process, Fixture) {
  alignas(VMSRS_PAGE_BYTES) static std::uint8_t more[VMSRS_PAGE_BYTES];
  BOOST_TEST(a.profile_named(more, sizeof more, 64, "kept").status == VMSRS_OK);
  begin(a);
  BOOST_TEST(a.call(VMSRS_CALL_STORE, address_of(more), 1, 8).status == VMSRS_OK);
  vmsrs_region_map map{};
  BOOST_TEST(ask_for_map(manager, token, 0, 1, true, map).status == VMSRS_OK);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 1u);
  BOOST_TEST(manager.reap(token, 0, kServerProcess).status == VMSRS_OK);
  const auto regions = list_regions(manager, token, 0);
  BOOST_REQUIRE(regions.size() == 1u);
  BOOST_TEST(regions[0].region == 1u);
  BOOST_TEST(regions[0].name == "kept");
  BOOST_TEST(regions[0].state == std::uint32_t{VMSRS_REGION_KEPT});
  BOOST_TEST(regions[0].process_count == 0u);
  BOOST_TEST(regions[0].process_id == 0u);
  BOOST_TEST(regions[0].address == 0u);
  // What was seen of it before is forgotten.
  BOOST_TEST(ask_for_map(manager, token, 0, 1, false, map).status == VMSRS_WRONG_STATE);
  BOOST_TEST(ask_for_map(manager, token, 0, 1, true, map).status == VMSRS_OK);
  BOOST_TEST(map.flags == VMSRS_MAP_HIDDEN_ONLY);
  BOOST_TEST(map.is_taken == 1u);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::granules) == sizeof more / 64);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 0u);
}

// Its state, and how far it is.
BOOST_FIXTURE_TEST_CASE(a_region_that_is_being_filled, Fixture) {
  static std::vector<std::uint8_t> more(3 * VMSRS_MAX_RANGE_BYTES + 64);
  const std::uint64_t at = (address_of(more.data()) + 63) & ~63ull;
  const Result region = a.call(VMSRS_CALL_PROFILE, at, 2 * VMSRS_MAX_RANGE_BYTES, 64);
  BOOST_REQUIRE(region.status == VMSRS_OK);
  BOOST_TEST(a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, 0).status == VMSRS_AGAIN);
  const vmsrs_region_info seen = list_regions(manager, token, 0)[1];
  BOOST_TEST(seen.state == std::uint32_t{VMSRS_REGION_FILLING});
  BOOST_TEST(seen.filled_bytes == VMSRS_MAX_RANGE_BYTES);
}

BOOST_FIXTURE_TEST_CASE(a_map_where_every_store_is_a_call, Fixture) {
  vmsrs_region_map map{};
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_WRONG_STATE);
  begin(a);
  begin(b);
  store(a, 0, 1);  // bucket 0: 4 granules of 16 bytes
  store(a, 16, 1);
  store(b, 16, 1);
  store(b, 64, 1);  // bucket 1
  store(b, sizeof memory - 8, 1);
  map = this->map();
  BOOST_TEST(map.region == 0u);
  BOOST_TEST(map.flags == 0u);
  BOOST_TEST(map.bucket_granules == 4u);
  BOOST_TEST(map.bucket_count == 128u);
  BOOST_TEST(map.buckets[0].granules == 4u);
  BOOST_TEST(map.buckets[0].owned == 2u);
  BOOST_TEST(map.buckets[0].recorded == 2u);
  BOOST_TEST(map.buckets[0].contended == 1u);
  BOOST_TEST(map.buckets[1].owned == 1u);
  BOOST_TEST(map.buckets[1].contended == 0u);
  BOOST_TEST(map.buckets[127].owned == 1u);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 4u);
  a.crash();
  load(b, 0);
  // Nobody has looked again, but who restores counts.
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_OK);
  BOOST_TEST(map.buckets[0].owned == 2u);
  BOOST_TEST(map.buckets[0].restored == 1u);
  BOOST_TEST(restored(map) == 1u);
  map = this->map();
  BOOST_TEST(map.buckets[0].owned == 1u);
  bury(a);
  end(b);
  map = this->map();
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 0u);
}

BOOST_FIXTURE_TEST_CASE(claims_are_looked_at_by_the_servers_thread, Large) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  for (std::size_t at : {std::size_t{0}, std::size_t{8}, Large::kBytes - 8})
    BOOST_TEST((a.store_word(0, at, 1) == guest::Access::kDone));
  // Two users in one granule: the engine keeps who wrote what.
  std::uint8_t byte = 1;
  BOOST_TEST((a.store(0, 1024, &byte, 1) == guest::Access::kDone));
  BOOST_TEST((b.store(0, 1025, &byte, 1) == guest::Access::kDone));
  vmsrs_region_map map{};
  BOOST_TEST(ask_for_map(manager, token, 0, 0, true, map).status == VMSRS_AGAIN);
  BOOST_TEST(map.is_taken == 0u);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 0u);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::granules) == kGranules);
  unsigned pieces = 0;
  do {
    BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN);
    ++pieces;
    // Another's wish for a look does not begin the one under way again.
    if (pieces == 2) ask_for_map(manager, token, 0, 0, true, map);
  } while (pieces < 100 && ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_AGAIN);
  BOOST_TEST(pieces == 5u);  // of 2,048 granules, fewer where they are owned
  BOOST_TEST(service.call(VMSRS_CALL_SERVICE).status == VMSRS_OK);
  BOOST_TEST(map.is_taken == 1u);
  BOOST_TEST(map.flags == 0u);
  BOOST_TEST(map.bucket_granules == 64u);
  BOOST_TEST(map.buckets[0].owned == 2u);
  BOOST_TEST(map.buckets[0].recorded == 0u);
  BOOST_TEST(map.buckets[2].owned == 1u);
  BOOST_TEST(map.buckets[2].recorded == 1u);
  BOOST_TEST(map.buckets[2].contended == 1u);
  BOOST_TEST(map.buckets[127].owned == 1u);
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 4u);
  // A crashed user has what it has until it is restored; who has ended has nothing, whatever tags
  // say.
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(sum(this->map(), &vmsrs_map_bucket::owned) == 4u);
  (void)b.load_word(0, 0);
  BOOST_TEST(this->map().buckets[0].owned == 1u);
  BOOST_TEST(this->map().buckets[0].restored == 1u);
  BOOST_TEST(b.end() == VMSRS_OK);
  Shop::bury(a);
  map = this->map();
  BOOST_TEST(sum(map, &vmsrs_map_bucket::owned) == 0u);
  const vmsrs_server_info counters = info();
  BOOST_TEST(restored(map) == counters.demand_restore_count + counters.collect_restore_count);
  BOOST_TEST(restored(map) == 4u);
  BOOST_TEST(list_regions(manager, token, 0)[0].restore_count == 4u);
  BOOST_TEST(sound());
}

// The last look is shown, with its age, while nobody carries out the next one.
BOOST_FIXTURE_TEST_CASE(a_look_has_an_age, Large) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 1) == guest::Access::kDone));
  (void)map();
  machine.platform.advance_ns(5'000);
  BOOST_TEST((a.store_word(0, 8, 1) == guest::Access::kDone));
  vmsrs_region_map map{};
  BOOST_TEST(ask_for_map(manager, token, 0, 0, true, map).status == VMSRS_AGAIN);
  BOOST_TEST(map.is_taken == 1u);
  BOOST_TEST(map.age_ns >= 5'000u);
  BOOST_TEST(map.buckets[0].owned == 1u);
  machine.platform.advance_ns(7'000);
  serve();
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_OK);
  BOOST_TEST(map.age_ns < 5'000u);
  BOOST_TEST(map.duration_ns >= 7'000u);
  BOOST_TEST(map.buckets[0].owned == 2u);
}

// Their granules are passed over, and it is said.
BOOST_FIXTURE_TEST_CASE(claims_that_cannot_be_read, Large) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 1) == guest::Access::kDone));
  BOOST_TEST((a.store_word(0, Large::kBytes - 8, 1) == guest::Access::kDone));
  service.memory.set_page(&claim(0, 0), HostMemory::Page::kForbidden);
  vmsrs_region_map map = this->map();
  BOOST_TEST(map.flags == VMSRS_MAP_UNREADABLE);
  BOOST_TEST(map.buckets[0].owned == 0u);
  BOOST_TEST(map.buckets[127].owned == 1u);
  service.memory.set_page(&claim(0, 0), HostMemory::Page::kNotPresent);
  BOOST_TEST(ask_for_map(manager, token, 0, 0, true, map).status == VMSRS_AGAIN);
  const Result touch = service.call(VMSRS_CALL_SERVICE);
  BOOST_TEST(touch.status == VMSRS_TOUCH);
  service.memory.touch(touch.rdx);
  serve();
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_OK);
  BOOST_TEST(map.flags == 0u);
  BOOST_TEST(map.buckets[0].owned == 1u);
}

// A region is looked at by a process that has it, and forgotten with the last one.
BOOST_FIXTURE_TEST_CASE(the_process_that_has_a_region_looks_at_it, LargeOfTwo) {
  BOOST_TEST(lose(1) == VMSRS_OK);
  BOOST_TEST(join(1, 0) == VMSRS_OK);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 1) == guest::Access::kDone));
  vmsrs_region_map map{};
  BOOST_TEST(ask_for_map(manager, token, 0, 0, true, map).status == VMSRS_AGAIN);
  const std::uint64_t asked = window().status.service_request;
  serve(1);
  BOOST_TEST(window().status.service_request > asked);
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_AGAIN);
  serve(0);
  BOOST_TEST(ask_for_map(manager, token, 0, 0, false, map).status == VMSRS_OK);
  BOOST_TEST(map.buckets[0].owned == 1u);
  const vmsrs_region_info region = list_regions(manager, token, 0)[0];
  BOOST_TEST(region.process_count == 1u);
  BOOST_TEST(region.process_id == kProcessId);
}

// A region's last bucket may have fewer granules, and there may be fewer buckets.
BOOST_AUTO_TEST_CASE(buckets_of_regions_of_any_size) {
  for (const std::size_t granules : {1u, 127u, 128u, 129u, 300u}) {
    ClaimServer server({{granules * 64, 64}});
    ClaimThread a(server, 0xa000);
    BOOST_TEST(a.begin() == VMSRS_OK);
    for (std::size_t i = 0; i < granules; ++i)
      BOOST_TEST((a.store_word(0, 64 * i, 1) == guest::Access::kDone));
    const vmsrs_region_map map =
        map_of(server.manager, server.token, 0, 0, [&] { server.serve(); });
    BOOST_TEST(map.bucket_count == (granules <= 128 ? granules : granules == 129 ? 65 : 75));
    BOOST_TEST(map.bucket_granules == std::bit_ceil((granules + 127) / 128));
    BOOST_TEST(sum(map, &vmsrs_map_bucket::granules) == granules);
    for (std::uint32_t i = 0; i < map.bucket_count; ++i) {
      BOOST_TEST(map.buckets[i].granules > 0u);
      BOOST_TEST(map.buckets[i].owned == map.buckets[i].granules);
    }
    BOOST_TEST(a.crash() == VMSRS_OK);
    Shop::bury(a);
    vmsrs_region_map later{};
    ask_for_map(server.manager, server.token, 0, 0, false, later);
    for (std::uint32_t i = 0; i < map.bucket_count; ++i)
      BOOST_TEST(later.buckets[i].restored == map.buckets[i].granules);
  }
}

BOOST_FIXTURE_TEST_CASE(records_say_who_wrote_what, Fixture) {
  begin(a);
  begin(b);
  store(a, 32, 0x1122334455667788);
  store(b, 36, 0xaa, 1);
  a.crash();
  auto records = list_records(manager, token, 0);
  BOOST_REQUIRE(records.size() == 2u);
  if (records[0].sequence > records[1].sequence) std::swap(records[0], records[1]);
  const vmsrs_record_info &first = records[0], &second = records[1];
  for (const vmsrs_record_info& record : records) {
    BOOST_TEST(record.region == 0u);
    BOOST_TEST(record.granule == 2u);
    BOOST_TEST(record.granule_bytes == 16u);
    BOOST_TEST(record.flags == VMSRS_RECORD_VALUES);
    BOOST_TEST(std::memcmp(record.committed_bytes, "\x20\x21\x22\x23\x24\x25", 6) == 0);
    BOOST_TEST(record.committed_bytes[15] == 0x2f);
    BOOST_TEST(record.committed_bytes[16] == 0);
  }
  BOOST_TEST(first.mask == 0xffu);
  BOOST_TEST(first.state == std::uint32_t{VMSRS_USER_CRASHED});
  BOOST_TEST(first.recorded_bytes[0] == 0x88);
  BOOST_TEST(first.recorded_bytes[7] == 0x11);
  BOOST_TEST(first.recorded_bytes[8] == 0);
  BOOST_TEST(first.generation == window().users[first.slot] >> 2);
  BOOST_TEST(second.mask == 0x10u);
  BOOST_TEST(second.state == std::uint32_t{VMSRS_USER_ACTIVE});
  BOOST_TEST(second.recorded_bytes[4] == 0xaa);
  BOOST_TEST(second.recorded_bytes[0] == 0);
  BOOST_TEST(second.slot != first.slot);
}

BOOST_FIXTURE_TEST_CASE(values_are_for_those_who_may_operate, Fixture) {
  begin(a);
  store(a, 32, ~0ull);
  const std::uint64_t observer = manager.open(VMSRS_OBSERVE).rdx;
  const auto records = list_records(manager, observer, 0);
  BOOST_REQUIRE(records.size() == 1u);
  BOOST_TEST(records[0].mask == 0xffu);
  BOOST_TEST(records[0].flags == 0u);
  for (std::size_t i = 0; i < 64; ++i) {
    BOOST_TEST(records[0].recorded_bytes[i] == 0);
    BOOST_TEST(records[0].committed_bytes[i] == 0);
  }
}

// Those that somebody has committed since are no longer the user's.
BOOST_FIXTURE_TEST_CASE(bytes_outside_the_mask_are_not_told, Fixture) {
  begin(a);
  store(a, 32, ~0ull);
  begin(b);
  store(b, 32, 1, 1);
  end(b);
  const auto records = list_records(manager, token, 0);
  BOOST_REQUIRE(records.size() == 1u);
  BOOST_TEST(records[0].mask == 0xfeu);
  BOOST_TEST(records[0].recorded_bytes[0] == 0);
  BOOST_TEST(records[0].recorded_bytes[1] == 0xff);
  BOOST_TEST(records[0].committed_bytes[0] == 1);
}

// Each that is there all the time comes once, whatever the page; one region's, or all.
BOOST_FIXTURE_TEST_CASE(records_come_in_pages, Fixture) {
  alignas(VMSRS_PAGE_BYTES) static std::uint8_t more[VMSRS_PAGE_BYTES];
  BOOST_TEST(a.profile(more, sizeof more, 64).status == VMSRS_OK);
  begin(a);
  for (std::size_t at = 0; at < 100 * 16; at += 16) store(a, at, 1);
  for (std::size_t at = 0; at < 20 * 64; at += 64)
    BOOST_TEST(a.call(VMSRS_CALL_STORE, address_of(more + at), 1, 8).status == VMSRS_OK);
  for (const std::size_t room : {1u, 7u, 16u}) {
    std::map<std::uint32_t, std::set<std::uint32_t>> granules;
    const auto all = list_records(manager, token, 0, VMSRS_EVERY_REGION, room);
    for (const vmsrs_record_info& record : all) granules[record.region].insert(record.granule);
    BOOST_TEST(all.size() == 120u);
    BOOST_TEST(granules[0].size() == 100u);
    BOOST_TEST(granules[1].size() == 20u);
    BOOST_TEST(list_records(manager, token, 0, 0, room).size() == 100u);
    BOOST_TEST(list_records(manager, token, 0, 1, room).size() == 20u);
    BOOST_TEST(list_records(manager, token, 0, 2, room).size() == 0u);
  }
}

// What a server writes into its regions is no record, whatever it looks like.
BOOST_FIXTURE_TEST_CASE(memory_that_looks_like_records, Fixture) {
  begin(a);
  store(a, 0, 1);
  recovery::PagePool& pool = recovery::EngineProbe::pool();
  const std::uint32_t page = recovery::RecordSlab::page_of(ledger().users[0].records);
  const std::uint32_t mirror = ledger().regions[0].mirror_page;
  std::memcpy(pool.address(mirror), pool.address(page), VMSRS_PAGE_BYTES);
  BOOST_TEST(list_records(manager, token, 0).size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_frozen_granule_has_an_empty_record, Shop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  BOOST_TEST((a.store_word(0, 0, 0xa) == guest::Access::kDone));
  BOOST_TEST(list_records(manager, token, 0).empty());
  const std::uint64_t value = 0xb;
  BOOST_TEST(b.store(regions[0].begin, &value, 8, 0, false).status == VMSRS_DRAIN);
  const auto records = list_records(manager, token, 0);
  BOOST_REQUIRE(records.size() == 1u);
  BOOST_TEST(records[0].mask == 0u);
  BOOST_TEST(records[0].slot == a.slot);
}

BOOST_FIXTURE_TEST_CASE(cursors_may_be_anything, Fixture) {
  begin(a);
  store(a, 0, 1);
  vmsrs_record_info records[16];
  vmsrs_region_info regions[16];
  for (const std::uint64_t cursor : {std::uint64_t{1} << 31, std::uint64_t{0xffffffff},
                                     std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    Result result = manager.call(VMSRS_CALL_MGMT_RECORDS, token, 0, VMSRS_EVERY_REGION, cursor,
                                 address_of(records), sizeof records);
    BOOST_TEST(result.status == VMSRS_OK);
    BOOST_TEST(result.rdx == 0u);
    BOOST_TEST(result.rsi == 0u);
    result = manager.call(VMSRS_CALL_MGMT_REGIONS, token, 0, cursor, address_of(regions),
                          sizeof regions);
    BOOST_TEST(result.status == VMSRS_OK);
    BOOST_TEST(result.rdx == 0u);
    BOOST_TEST(result.rsi == 0u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
