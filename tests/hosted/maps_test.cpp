// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "victim_site.hpp"

// What management sees of the regions and records of a server that works: through vmsrs-hosted's
// lanes, the claims looked at by the library's own service thread.
using namespace vmsrs::test;

namespace {

struct MapSite : VictimSite {
  std::vector<vmsrs_region_info> regions() {
    std::vector<vmsrs_region_info> all(VMSRS_MAX_REGIONS);
    const Answer answer = manager.client().call(VMSRS_CALL_MGMT_REGIONS, manager.token(), server, 0,
                                                address_of(all.data()), all.size() * sizeof all[0]);
    BOOST_REQUIRE_EQUAL(answer.status, VMSRS_OK);
    all.resize(answer.rdx);
    return all;
  }
  std::uint64_t ask(vmsrs_region_map& map, bool anew) {
    return manager.client()
        .call(VMSRS_CALL_MGMT_REGION_MAP, manager.token(), server, 0, address_of(&map), sizeof map,
              anew ? 1 : 0)
        .status;
  }
  // A new look, for which it waits.
  vmsrs_region_map look_at_map() {
    vmsrs_region_map map{};
    std::uint64_t status = ask(map, true);
    for (unsigned i = 0; i < 2000 && status == VMSRS_AGAIN; ++i) {
      usleep(5000);
      status = ask(map, false);
    }
    BOOST_REQUIRE_EQUAL(status, VMSRS_OK);
    return map;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(maps, MapSite)

BOOST_AUTO_TEST_CASE(a_server_that_works) {
  BOOST_CHECK(regions().empty());
  start({"serve"});
  for (unsigned i = 0; i < 2000 && regions().empty(); ++i) usleep(5000);
  BOOST_REQUIRE_EQUAL(regions().size(), 1u);
  std::uint64_t owned = 0, restored = 0;
  for (unsigned i = 0; i < 500 && (owned == 0 || restored == 0); ++i) {
    const vmsrs_region_map map = look_at_map();
    BOOST_REQUIRE_EQUAL(map.is_taken, 1u);
    BOOST_REQUIRE_EQUAL(map.flags, 0u);
    std::uint64_t granules = 0, now = 0;
    for (const vmsrs_map_bucket& bucket : map.buckets) {
      BOOST_REQUIRE_LE(bucket.owned, bucket.granules);
      BOOST_REQUIRE_LE(bucket.recorded, bucket.owned);
      BOOST_REQUIRE_LE(bucket.contended, bucket.recorded);
      granules += bucket.granules;
      owned += bucket.owned;
      now += bucket.restored;
    }
    BOOST_REQUIRE_GE(now, restored);
    restored = now;
    BOOST_REQUIRE_EQUAL(granules, regions()[0].bytes / regions()[0].granule_bytes);
  }
  BOOST_CHECK_GT(owned, 0u);
  BOOST_CHECK_GT(restored, 0u);
  const vmsrs_region_info region = regions()[0];
  BOOST_CHECK_EQUAL(region.state, VMSRS_REGION_LIVE);
  BOOST_CHECK_EQUAL(region.flags, VMSRS_REGION_CLAIMS);
  BOOST_CHECK_EQUAL(region.process_id, static_cast<std::uint32_t>(child->id()));
  BOOST_CHECK_NE(region.address, 0u);
  // With the server gone, its region and what was seen of it are gone.
  kill();
  look();
  BOOST_CHECK(regions().empty());
  vmsrs_region_map map{};
  BOOST_CHECK_EQUAL(ask(map, false), VMSRS_NOT_FOUND);
}

// A server without the library, whose stores are all calls.
BOOST_AUTO_TEST_CASE(records_over_lanes) {
  Client client(hosted.socket());
  BOOST_REQUIRE_EQUAL(client.attach("victim", secret).status, VMSRS_OK);
  vmsrs_status status;
  std::byte* const memory = client.take_memory(1 << 16, status);
  BOOST_REQUIRE(memory != nullptr);
  BOOST_REQUIRE_EQUAL(client.profile(memory, 1 << 16), VMSRS_OK);
  client.call(VMSRS_CALL_USER_BEGIN, 1);
  constexpr std::uint64_t kRecords = 100;
  for (std::uint64_t i = 0; i < kRecords; ++i)
    BOOST_REQUIRE_EQUAL(
        client.call(VMSRS_CALL_STORE, address_of(memory) + 8 * i, 1000 + i, 8).status, VMSRS_OK);
  std::vector<std::uint64_t> found;
  std::uint64_t cursor = 0;
  do {
    vmsrs_record_info page[16];
    const Answer answer =
        manager.client().call(VMSRS_CALL_MGMT_RECORDS, manager.token(), server, VMSRS_EVERY_REGION,
                              cursor, address_of(page), sizeof page);
    BOOST_REQUIRE_EQUAL(answer.status, VMSRS_OK);
    for (std::uint64_t i = 0; i < answer.rdx; ++i) {
      std::uint64_t value;
      std::memcpy(&value, page[i].recorded_bytes, sizeof value);
      BOOST_CHECK_EQUAL(value, 1000 + page[i].granule);
      found.push_back(page[i].granule);
    }
    cursor = answer.rsi;
  } while (cursor != 0);
  std::sort(found.begin(), found.end());
  BOOST_REQUIRE_EQUAL(found.size(), kRecords);
  for (std::uint64_t i = 0; i < kRecords; ++i) BOOST_CHECK_EQUAL(found[i], i);
  BOOST_CHECK_EQUAL(look_at_map().buckets[1].owned, 36u);  // 64 granules a bucket
}

BOOST_AUTO_TEST_SUITE_END()
