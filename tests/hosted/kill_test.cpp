// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>
#include <random>

#include "victim_site.hpp"

// Servers and threads of servers that die: at any instruction.
using namespace vmsrs::test;

namespace {

unsigned points() {
  const char* const text = std::getenv("VMSRS_KILL_POINTS");
  return text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 200;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(killed, VictimSite)

BOOST_AUTO_TEST_CASE(server_at_random_points) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  BOOST_TEST_MESSAGE("seed " << seed);
  std::uint64_t finished = 0, faults = 0;
  for (unsigned i = 0; i < points(); ++i) {
    start({"serve"});
    // Half of them while they attach and profile, half while they serve.
    if (i % 2 == 0) {
      BOOST_REQUIRE_EQUAL(line(), "ready");
      usleep(static_cast<useconds_t>(random() % 4000));
    } else {
      usleep(static_cast<useconds_t>(random() % 12000));
    }
    kill();
    look();
    const vmsrs_server_info info = manager.info(server);
    finished = info.finished_count;
    faults = info.faults[VMSRS_FAULT_NULL];
  }
  BOOST_TEST_MESSAGE(points() << " kills, " << finished << " commits, " << faults << " faults");
  BOOST_CHECK_GT(finished, points());
  BOOST_CHECK_GT(faults, points() / 4);
}

// A child of fork holds the socket open: only the process's own end tells.
BOOST_AUTO_TEST_CASE(server_whose_child_lives_on) {
  start({"fork"});
  BOOST_REQUIRE_EQUAL(line(), "ready");
  const auto begin = std::chrono::steady_clock::now();
  kill();
  look();
  BOOST_CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

BOOST_AUTO_TEST_CASE(single_threads_by_the_raw_system_call) {
  start({"threads", std::to_string(points())});
  const std::string result = line();
  BOOST_TEST_MESSAGE(result);
  BOOST_CHECK_MESSAGE(result.ends_with("torn=0"), result);
  const vmsrs_server_info info = manager.info(server);
  BOOST_CHECK_EQUAL(info.active_users, 0u);
  BOOST_CHECK_EQUAL(info.crashed_users, 0u);
  BOOST_CHECK_GT(info.faults[VMSRS_FAULT_ABORT], 0u);  // users that were buried
  BOOST_CHECK_EQUAL(manager.violations(), "");
  kill();
  look();
}

BOOST_AUTO_TEST_CASE(stopped_server_harms_no_other) {
  start({"serve"});
  BOOST_REQUIRE_EQUAL(line(), "ready");
  usleep(20'000);
  child->signal(SIGSTOP);
  const Secret other_secret = secret_of(8);
  const std::uint32_t other = manager.define("other", other_secret);
  Client client(hosted.socket());
  BOOST_REQUIRE_EQUAL(client.attach("other", other_secret).status, VMSRS_OK);
  vmsrs_status status;
  auto* const memory = client.take_memory(VMSRS_PAGE_BYTES, status);
  BOOST_REQUIRE(memory != nullptr);
  BOOST_REQUIRE_EQUAL(client.profile(memory, VMSRS_PAGE_BYTES), VMSRS_OK);
  for (unsigned i = 0; i < 10'000; ++i) {
    BOOST_REQUIRE_EQUAL(client.call(VMSRS_CALL_USER_BEGIN, i).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(client.call(VMSRS_CALL_STORE, address_of(memory), i, 8).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(client.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
  }
  BOOST_CHECK_EQUAL(manager.info(other).finished_count, 10'000u);
  BOOST_CHECK_EQUAL(manager.info(server).attached, 1u);
  const std::uint64_t before = manager.info(server).finished_count;
  child->signal(SIGCONT);
  for (unsigned i = 0; i < 1000 && manager.info(server).finished_count <= before; ++i) usleep(5000);
  BOOST_CHECK_GT(manager.info(server).finished_count, before);
  kill();
  BOOST_CHECK(manager.is_reaped(server));
}

BOOST_AUTO_TEST_SUITE_END()
