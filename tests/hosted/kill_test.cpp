// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "victim_places.hpp"
#include "victim_site.hpp"

// Servers and threads of servers that die: at any instruction.
using namespace vmsrs::test;

namespace {

const unsigned kPoints = kill_points(200);

// Where the threads of a server were when it was killed; empty if it had not yet begun to serve.
Hits hits_in(const std::string& file) {
  Hits hits{};
  std::uint32_t places[kVictimThreads] = {};
  std::ifstream(file, std::ios::binary).read(reinterpret_cast<char*>(places), sizeof places);
  for (const std::uint32_t place : places) ++hits.at[place];
  return hits;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(killed, VictimSite)

BOOST_AUTO_TEST_CASE(server_at_random_points) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  BOOST_TEST_MESSAGE("seed " << seed);
  const std::string places = hosted.path("places");
  std::uint64_t finished = 0, faults = 0;
  Hits hits{};
  for (unsigned i = 0; i < kPoints; ++i) {
    start({"serve", places});
    // Half of them while they attach and profile, half while they serve.
    if (i % 2 == 0) {
      BOOST_REQUIRE_EQUAL(line(), "ready");
      usleep(static_cast<useconds_t>(random() % 4000));
    } else {
      usleep(static_cast<useconds_t>(random() % 12000));
    }
    kill();
    const Hits these = hits_in(places);
    for (unsigned place = 0; place < kPlaceCount; ++place) hits.at[place] += these.at[place];
    std::filesystem::remove(places);
    look();
    const vmsrs_server_info info = manager.info(server);
    finished = info.finished_count;
    faults = info.faults[VMSRS_FAULT_NULL];
  }
  BOOST_TEST_MESSAGE(kPoints << " kills, " << finished << " commits, " << faults
                             << " faults; threads hit storing " << hits.at[kStoring] << ", ending "
                             << hits.at[kEnding] << ", suppressed " << hits.at[kSuppressed]);
  BOOST_CHECK_GT(hits.at[kStoring], 0u);
  BOOST_CHECK_GT(hits.at[kEnding], 0u);
  BOOST_CHECK_GT(hits.at[kSuppressed], 0u);
  BOOST_CHECK_GT(finished, kPoints);
  BOOST_CHECK_GT(faults, kPoints / 4);
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
  start({"threads", std::to_string(kPoints)});
  const std::string result = line();
  BOOST_TEST_MESSAGE(result);
  unsigned killed = 0, storing = 0, ending = 0, suppressed = 0, torn = 1;
  std::sscanf(result.c_str(), "killed=%u storing=%u ending=%u suppressed=%u torn=%u", &killed,
              &storing, &ending, &suppressed, &torn);
  BOOST_CHECK_EQUAL(torn, 0u);
  BOOST_CHECK_GE(killed, kPoints);
  BOOST_CHECK_GT(storing, 0u);
  BOOST_CHECK_GT(ending, 0u);
  BOOST_CHECK_GT(suppressed, 0u);
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
