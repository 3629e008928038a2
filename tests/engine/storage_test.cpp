// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <random>
#include <vector>

#include "fixture.hpp"

// Recovery storage: pool, records, quotas, and what happens when it is full.
using namespace vmsrs::test;
using vmsrs::recovery::EngineProbe;
using vmsrs::recovery::PagePool;

namespace {

struct Pool {
  HostPlatform platform;
  std::vector<std::uint64_t> memory;
  PagePool pool;
  explicit Pool(std::size_t pages) : memory(pages * VMSRS_PAGE_BYTES / 8) {
    BOOST_REQUIRE(pool.initialise(platform, memory.data(), pages * VMSRS_PAGE_BYTES));
  }
  bool sound() {
    vmsrs_check_result result{};
    pool.begin_check();
    while (pool.check_piece(result)) {
    }
    return result.violation_count == 0;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(pool_too_small) {
  HostPlatform platform;
  PagePool pool;
  std::vector<std::uint64_t> memory(512);
  BOOST_TEST(!pool.initialise(platform, memory.data(), 0));
  BOOST_TEST(!pool.initialise(platform, memory.data(), VMSRS_PAGE_BYTES));
}

BOOST_AUTO_TEST_CASE(pool_takes_the_first_run_that_fits) {
  Pool p(200);
  const auto a = p.pool.take(10, 2), b = p.pool.take(5, 2), c = p.pool.take(10, 3);
  BOOST_TEST(a == 1u);
  BOOST_TEST(b == 11u);
  BOOST_TEST(c == 16u);
  p.pool.give(b, 5);
  BOOST_TEST(p.pool.take(6, 2) == 26u);
  BOOST_TEST(p.pool.take(5, 2) == b);
  BOOST_TEST(p.pool.take(200, 2) == 0u);
  BOOST_TEST(p.pool.take(0, 2) == 0u);
  BOOST_TEST(p.pool.take(168, 2) == 32u);
  BOOST_TEST(p.pool.take(1, 2) == 0u);
  BOOST_TEST(p.pool.used_bytes() == p.pool.capacity_bytes());
  BOOST_TEST(p.sound());
}

// Runs of any length, taken and given at random, between the pieces of a check: as if page by page.
BOOST_AUTO_TEST_CASE(pool_agrees_with_a_table_of_pages) {
  constexpr std::uint32_t kPages = 10'000;  // three pieces of a check
  Pool p(kPages);
  std::vector<vmsrs::recovery::Owner> table(kPages);
  table[0] = table[1] = table[2] = vmsrs::recovery::kOwnerEngine;  // its own tables
  struct Run {
    std::uint32_t first, pages;
  };
  std::vector<Run> runs;
  std::mt19937 random(1);
  vmsrs_check_result result{};
  p.pool.begin_check();
  for (int step = 0; step < 3000; ++step) {
    if (runs.empty() || random() % 2 == 0) {
      const auto pages =
          static_cast<std::uint32_t>(1 + random() % (random() % 4 == 0 ? 2000 : 100));
      const auto owner = static_cast<vmsrs::recovery::Owner>(2 + random() % 3);
      const auto free = std::search_n(table.begin(), table.end(), pages, 0);
      const auto first =
          free == table.end() ? 0u : static_cast<std::uint32_t>(free - table.begin());
      BOOST_REQUIRE(p.pool.take(pages, owner) == first);
      if (first == 0) continue;
      std::fill_n(free, pages, owner);
      runs.push_back({first, pages});
    } else {
      const std::size_t which = random() % runs.size();
      const Run run = runs[which];
      runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(which));
      p.pool.give(run.first, run.pages);
      std::fill_n(table.begin() + run.first, run.pages, 0);
    }
    for (vmsrs::recovery::Owner owner = 2; owner < 5; ++owner)
      BOOST_REQUIRE(p.pool.used_bytes(owner) ==
                    static_cast<std::size_t>(std::count(table.begin(), table.end(), owner)) *
                        VMSRS_PAGE_BYTES);
    if (step % 50 == 0 && !p.pool.check_piece(result)) p.pool.begin_check();
  }
  BOOST_TEST(result.violation_count == 0u);
  BOOST_TEST(p.sound());
}

BOOST_AUTO_TEST_CASE(pool_keeps_quotas) {
  Pool p(100);
  p.pool.set_quota(2, 10);
  BOOST_TEST(p.pool.take(11, 2) == 0u);
  const auto run = p.pool.take(10, 2);
  BOOST_TEST(run != 0u);
  BOOST_TEST(p.pool.take(1, 2) == 0u);
  BOOST_TEST(p.pool.take(1, 3) != 0u);
  p.pool.give(run, 10);
  BOOST_TEST(p.pool.take(1, 2) != 0u);
  BOOST_TEST(p.pool.used_bytes(2) == VMSRS_PAGE_BYTES);
}

BOOST_AUTO_TEST_CASE(machine_with_too_little_storage) {
  Machine machine(10 * VMSRS_PAGE_BYTES);
  Client manager(kManagerSpace);
  const std::uint64_t token = manager.open().rdx;
  BOOST_TEST(manager.define(token, "shop", secret_of(1)).status == VMSRS_NO_STORAGE);
  Client a(kServerSpace);
  BOOST_TEST(a.attach("shop", secret_of(1), 1).status == VMSRS_DENIED);
}

BOOST_FIXTURE_TEST_SUITE(full_storage, OneServer<8>)

// Regions of 8 KiB with granules of 8 bytes take 2 + 1 pages; three pages more are 62 records and
// their heads.
BOOST_AUTO_TEST_CASE(store_that_does_not_fit_changes_nothing) {
  (void)manager.define(token, "shop", secret_of(1), 6 * VMSRS_PAGE_BYTES);
  begin(a);
  const auto fill = [&](std::size_t at, std::size_t bytes) {
    return a.call(VMSRS_CALL_FILL_RANGE, address_of(memory + at), 0xcc, bytes).status;
  };
  const std::uint64_t before = EngineProbe::pool().used_bytes();
  std::uint8_t content[sizeof memory];
  std::memcpy(content, memory, sizeof memory);
  BOOST_TEST(fill(0, 63 * 8) == VMSRS_NO_STORAGE);
  BOOST_TEST(std::memcmp(content, memory, sizeof memory) == 0);
  BOOST_TEST(EngineProbe::pool().used_bytes() == before);
  BOOST_TEST(fill(0, 62 * 8) == VMSRS_OK);
  BOOST_TEST(fill(0, 62 * 8) == VMSRS_OK);  // needs nothing new
  BOOST_TEST(store(a, 63 * 8, 1) == VMSRS_NO_STORAGE);
  BOOST_TEST(info().no_storage_count == 2u);
  BOOST_TEST(sound());
  end(a);
  BOOST_TEST(EngineProbe::pool().used_bytes() == before);
}

BOOST_AUTO_TEST_CASE(crash_and_collection_need_no_storage) {
  (void)manager.define(token, "shop", secret_of(1), 5 * VMSRS_PAGE_BYTES);
  begin(a);
  begin(b);
  for (std::size_t i = 0; i < 31; ++i) BOOST_TEST(store(a, 8 * i, i) == VMSRS_OK);
  BOOST_TEST(store(b, 0, 1) == VMSRS_NO_STORAGE);
  a.crash();
  (void)load(b, 0);
  BOOST_TEST(store(b, 0, 2) == VMSRS_OK);  // room again: a's record there is gone
  bury(a);
  end(b);
  BOOST_TEST(mirror(0) == 2u);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(region_over_quota) {
  (void)manager.define(token, "shop", secret_of(1), 5 * VMSRS_PAGE_BYTES);
  alignas(64) static std::uint8_t more[3 * VMSRS_PAGE_BYTES];
  BOOST_TEST(a.profile(more, sizeof more, 64).status == VMSRS_NO_STORAGE);
  BOOST_TEST(info().storage_used_bytes == 3 * VMSRS_PAGE_BYTES);
  // Room for the mirror, but not for what stands beside it.
  (void)manager.define(token, "shop", secret_of(1), 4 * VMSRS_PAGE_BYTES);
  BOOST_TEST(a.profile(more, VMSRS_PAGE_BYTES, 64).status == VMSRS_NO_STORAGE);
  BOOST_TEST(info().storage_used_bytes == 3 * VMSRS_PAGE_BYTES);
  (void)manager.define(token, "shop", secret_of(1), 5 * VMSRS_PAGE_BYTES);
  BOOST_TEST(a.profile(more, VMSRS_PAGE_BYTES, 64).status == VMSRS_OK);
  BOOST_TEST(a.call(VMSRS_CALL_UNPROFILE, 1).status == VMSRS_OK);
  BOOST_TEST(info().storage_used_bytes == 3 * VMSRS_PAGE_BYTES);
}

BOOST_AUTO_TEST_CASE(users_over_quota) {
  (void)manager.define(token, "shop", secret_of(1), 0, 2);
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin(b) == VMSRS_OK);
  BOOST_TEST(begin(c) == VMSRS_NO_SLOT);
  end(a);
  BOOST_TEST(begin(c) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(a_thousand_users_and_no_more) {
  std::vector<Client> users;
  for (std::uint64_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    users.push_back(thread(0x7f0000000000 + i * 0x801000));
    BOOST_TEST(begin(users.back()) == VMSRS_OK);
  }
  BOOST_TEST(begin(a) == VMSRS_NO_SLOT);
  BOOST_TEST(info().active_users == VMSRS_MAX_USERS);
  for (Client& user : users) BOOST_TEST(end(user) == VMSRS_OK);
  BOOST_TEST(info().finished_count == VMSRS_MAX_USERS);
  BOOST_TEST(sound());
}

// Threads whose places in the table collide: who stays is found whoever goes.
BOOST_AUTO_TEST_CASE(users_are_found_after_others_have_gone) {
  std::mt19937_64 random(1);
  std::vector<Client> users;
  std::vector<std::uint64_t> depths(600, 0);
  for (std::size_t i = 0; i < depths.size(); ++i) users.push_back(thread(random() << 6));
  for (unsigned step = 0; step < 6000; ++step) {
    const std::size_t i = random() % users.size();
    if (random() % 2 == 0)
      BOOST_TEST(users[i].call(VMSRS_CALL_USER_BEGIN).rsi == ++depths[i]);
    else if (depths[i] > 0)
      BOOST_TEST(users[i].call(VMSRS_CALL_USER_END).rdx == --depths[i]);
    else
      BOOST_TEST(end(users[i]) == VMSRS_NO_USER);
  }
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(init_profile_empties_the_storage) {
  BOOST_TEST(a.call(VMSRS_CALL_INIT_PROFILE).status == VMSRS_OK);
  BOOST_TEST(info().storage_used_bytes == 0u);
  BOOST_TEST(info().region_count == 0u);
  BOOST_TEST(a.profile(memory, sizeof memory, 32).status == VMSRS_OK);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(large_region_is_filled_in_pieces) {
  OneServer<> server;
  const std::size_t bytes = 5 * VMSRS_MAX_RANGE_BYTES / 2;
  std::vector<std::uint64_t> memory(bytes / 8 + 8, 0x1122334455667788);
  void* const start = reinterpret_cast<void*>((address_of(memory.data()) + 63) & ~63ull);
  const Result region = server.a.call(VMSRS_CALL_PROFILE, address_of(start), bytes, 64);
  std::uint64_t at = 0;
  for (const vmsrs_status wanted : {VMSRS_AGAIN, VMSRS_AGAIN, VMSRS_OK}) {
    const Result fill = server.a.call(VMSRS_CALL_PROFILE_FILL, region.rdx, at);
    BOOST_TEST(fill.status == wanted);
    at = fill.rdx;
  }
  BOOST_TEST(at == bytes);
  BOOST_TEST(std::memcmp(EngineProbe::ledger(0).regions[1].mirror, start, bytes) == 0);
  BOOST_TEST(server.sound());
}
