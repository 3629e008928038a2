// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "victim_site.hpp"

// A server that is killed and started again finds what it had committed.
using namespace vmsrs::test;

static const unsigned kLives = kill_points(100);

BOOST_FIXTURE_TEST_SUITE(revival, VictimSite)

BOOST_AUTO_TEST_CASE(committed_data_outlives_the_process) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  BOOST_TEST_MESSAGE("seed " << seed);
  const std::string notebook = hosted.path("notebook");
  for (unsigned life = 0; life < kLives; ++life) {
    start({"named", notebook});
    const std::string found = line();
    BOOST_REQUIRE_EQUAL(found, life == 0 ? "kept=0 torn=0 wrong=0" : "kept=1 torn=0 wrong=0");
    usleep(1000 + static_cast<useconds_t>(random() % 8000));
    kill();
    BOOST_REQUIRE(manager.is_detached(server));
    const vmsrs_server_info info = manager.info(server);
    BOOST_REQUIRE_EQUAL(info.kept_region_count, 1u);
    BOOST_REQUIRE_EQUAL(info.record_count, 0u);
    BOOST_REQUIRE_EQUAL(info.active_users + info.crashed_users, 0u);
    look_at_hosted();
  }
  const vmsrs_server_info info = manager.info(server);
  BOOST_TEST_MESSAGE(kLives << " lives, " << info.finished_count << " commits");
  BOOST_CHECK_GT(info.finished_count, kLives);
  BOOST_CHECK_GT(info.faults[VMSRS_FAULT_NULL], 0u);
}

// Killed while memory or mirror is being filled, or before, or after: what was committed is there
// in the end.
BOOST_AUTO_TEST_CASE(killed_while_it_comes_back) {
  std::mt19937 random(std::random_device{}());
  const std::string notebook = hosted.path("notebook");
  start({"named", notebook});
  BOOST_REQUIRE_EQUAL(line(), "kept=0 torn=0 wrong=0");
  usleep(50'000);
  kill();
  for (unsigned i = 0; i < kLives; ++i) {
    start({"named", notebook});
    usleep(static_cast<useconds_t>(random() % 10'000));
    kill();
    BOOST_REQUIRE(manager.is_detached(server));
    BOOST_REQUIRE_EQUAL(manager.info(server).kept_region_count, 1u);
  }
  start({"named", notebook});
  BOOST_CHECK_EQUAL(line(), "kept=1 torn=0 wrong=0");
  kill();
  BOOST_REQUIRE(manager.is_detached(server));
  look_at_hosted();
}

BOOST_AUTO_TEST_SUITE_END()
