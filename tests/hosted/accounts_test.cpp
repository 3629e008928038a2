// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <list>
#include <stdexcept>

#include "hosted_process.hpp"

// Limits: who has used up his own has used up nobody else's.
using namespace vmsrs::test;

BOOST_AUTO_TEST_SUITE(accounts)

BOOST_AUTO_TEST_CASE(connections) {
  HostedProcess hosted({"--max-servers", "8", "--max-per-account", "5"});
  Manager manager(hosted);
  std::list<Client> clients;
  for (unsigned i = 0; i < 4; ++i) clients.emplace_back(hosted.socket());
  BOOST_CHECK_THROW(Client(hosted.socket()), std::runtime_error);
  BOOST_CHECK(hosted.logs("is not taken in: too many connections"));
  clients.pop_back();
  for (unsigned i = 0;; ++i) {  // until the end of the last one has been noticed
    try {
      clients.emplace_back(hosted.socket());
      break;
    } catch (const std::runtime_error&) {
      BOOST_REQUIRE_LT(i, 400u);
      usleep(5000);
    }
  }
  BOOST_CHECK_EQUAL(manager.violations(), "");
}

BOOST_AUTO_TEST_CASE(memory_of_an_account) {
  HostedProcess hosted({"--memory-per-account", "8MiB"});
  Manager manager(hosted);
  manager.define("greedy", secret_of(1));
  Client client(hosted.socket());
  BOOST_REQUIRE_EQUAL(client.attach("greedy", secret_of(1)).status, VMSRS_OK);
  vmsrs_status status;
  BOOST_CHECK(client.take_memory(4 << 20, status) != nullptr);
  BOOST_CHECK(client.take_memory(4 << 20, status) == nullptr);
  BOOST_CHECK_EQUAL(status, VMSRS_NO_STORAGE);
  BOOST_CHECK(client.take_memory(1 << 20, status) != nullptr);
  // What is given back is there again.
  BOOST_CHECK_EQUAL(client.call(VMSRS_CALL_INIT_PROFILE).status, VMSRS_OK);
  for (unsigned i = 0; i < 400 && client.take_memory(4 << 20, status) == nullptr; ++i) usleep(5000);
  BOOST_CHECK_EQUAL(status, VMSRS_OK);
  // Call areas count as well.
  BOOST_CHECK_THROW(Client(hosted.socket(), VMSRS_MAX_LANES), std::runtime_error);
  BOOST_CHECK_EQUAL(manager.violations(), "");
}

BOOST_AUTO_TEST_CASE(storage_of_one_server_is_not_the_others) {
  HostedProcess hosted;
  Manager manager(hosted);
  const std::uint32_t greedy = manager.define("greedy", secret_of(1), 2 << 20);
  manager.define("modest", secret_of(2));
  Client first(hosted.socket()), second(hosted.socket());
  BOOST_REQUIRE_EQUAL(first.attach("greedy", secret_of(1)).status, VMSRS_OK);
  BOOST_REQUIRE_EQUAL(second.attach("modest", secret_of(2)).status, VMSRS_OK);
  vmsrs_status status;
  std::byte* const large = first.take_memory(8 << 20, status);
  BOOST_REQUIRE(large != nullptr);
  BOOST_CHECK_EQUAL(first.profile(large, 8 << 20), VMSRS_NO_STORAGE);
  BOOST_CHECK_EQUAL(first.profile(large, 1 << 20, 64), VMSRS_OK);
  // Records until its quota is used up.
  first.call(VMSRS_CALL_USER_BEGIN, 1);
  std::uint64_t refused = 0;
  for (std::uint64_t at = 0; at < 1 << 20; at += 64)
    refused +=
        first.call(VMSRS_CALL_STORE, address_of(large) + at, at, 8).status == VMSRS_NO_STORAGE;
  BOOST_CHECK_GT(refused, 0u);
  BOOST_CHECK_GT(manager.info(greedy).no_storage_count, 0u);
  std::byte* const modest = second.take_memory(8 << 20, status);
  BOOST_REQUIRE(modest != nullptr);
  BOOST_CHECK_EQUAL(second.profile(modest, 8 << 20, 64), VMSRS_OK);
  first.call(VMSRS_CALL_USER_END);
}

// As many pieces of memory, as many lanes as there may be, then a status.
BOOST_AUTO_TEST_CASE(pieces_and_lanes) {
  HostedProcess hosted;
  Manager manager(hosted);
  manager.define("greedy", secret_of(1));
  Client client(hosted.socket(), 8);
  BOOST_REQUIRE_EQUAL(client.attach("greedy", secret_of(1)).status, VMSRS_OK);
  vmsrs_status status = VMSRS_OK;
  unsigned pieces = 0;
  while (client.take_memory(VMSRS_PAGE_BYTES, status) != nullptr) ++pieces;
  BOOST_CHECK_EQUAL(pieces, 2 * VMSRS_MAX_REGIONS + 1);
  BOOST_CHECK_EQUAL(status, VMSRS_NO_SLOT);
  for (std::uint64_t thread = 1; thread <= 7; ++thread) client.take_lane(thread);
  BOOST_CHECK_THROW(client.take_lane(8), std::runtime_error);
  BOOST_CHECK_EQUAL(manager.violations(), "");
}

BOOST_AUTO_TEST_SUITE_END()
