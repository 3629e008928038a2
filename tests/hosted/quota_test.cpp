// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>

#include "hosted_process.hpp"

// Quotas of one server, used up, while another one works.
using namespace vmsrs::test;

namespace {

constexpr std::size_t kBytes = 1 << 20;
constexpr std::uint64_t kQuota = 2 << 20;  // mirror, heads, and some records
constexpr std::size_t kWords = kBytes / 64;

// Two servers with the same quotas, each with a region and an open user.
struct Site {
  HostedProcess hosted;
  Manager manager{hosted};
  Client greedy{hosted.socket(), 8}, modest{hosted.socket(), 8};
  std::uint32_t greedy_number = 0, modest_number = 0;
  std::byte *large = nullptr, *other = nullptr;

  void start(vmsrs_storage_policy policy) {
    greedy_number = manager.define("greedy", secret_of(1), kQuota, 4, policy);
    modest_number = manager.define("modest", secret_of(2), kQuota, 4, policy);
    large = open(greedy, "greedy", 1);
    other = open(modest, "modest", 2);
  }
  static std::byte* attach(Client& client, const char* name, std::uint8_t secret) {
    BOOST_REQUIRE_EQUAL(client.attach(name, secret_of(secret)).status, VMSRS_OK);
    vmsrs_status status;
    std::byte* const memory = client.take_memory(kBytes, status);
    BOOST_REQUIRE(memory != nullptr);
    return memory;
  }
  static std::byte* open(Client& client, const char* name, std::uint8_t secret) {
    std::byte* const memory = attach(client, name, secret);
    BOOST_REQUIRE_EQUAL(client.profile(memory, kBytes, 64), VMSRS_OK);
    return memory;
  }
  // Stores to every granule. How many were refused for want of storage; nothing else may go wrong.
  static std::size_t store_everywhere(Client& client, std::byte* memory, std::uint64_t value) {
    std::size_t refused = 0;
    for (std::size_t i = 0; i < kWords; ++i) {
      const std::uint64_t status =
          client.call(VMSRS_CALL_STORE, address_of(memory) + 64 * i, value, 8).status;
      if (status != VMSRS_NO_STORAGE) BOOST_REQUIRE_EQUAL(status, VMSRS_OK);
      refused += status == VMSRS_NO_STORAGE;
    }
    return refused;
  }
  static std::uint64_t word(const std::byte* memory, std::size_t i) {
    return *reinterpret_cast<const std::uint64_t*>(memory + 64 * i);
  }
  // The greedy user stores to every granule, and the modest one is not held up.
  vmsrs_server_info use_up(vmsrs_storage_policy policy) {
    start(policy);
    greedy.call(VMSRS_CALL_USER_BEGIN, 1);
    const std::size_t refused = store_everywhere(greedy, large, 7);
    const vmsrs_server_info full = manager.info(greedy_number);
    BOOST_CHECK_EQUAL(refused > 0, policy == VMSRS_STORAGE_REFUSE);
    BOOST_CHECK_EQUAL(full.no_storage_count > 0, policy == VMSRS_STORAGE_REFUSE);
    BOOST_CHECK_EQUAL(full.unprotected_store_count > 0, policy == VMSRS_STORAGE_UNPROTECTED);
    BOOST_CHECK_LE(full.storage_used_bytes, kQuota);
    modest_works();
    return full;
  }
  // Not to the check's end: no thread of these servers would answer for the rest of it.
  vmsrs_check_result storage_check() {
    vmsrs_check_report report{};
    const vmsrs_check_result& storage = report.results[VMSRS_CHECK_STORAGE];
    for (std::uint64_t anew = 1; anew == 1 || storage.verdict == VMSRS_VERDICT_PENDING; anew = 0)
      manager.client().call(VMSRS_CALL_MGMT_CHECK, manager.token(), anew, address_of(&report),
                            sizeof report);
    return storage;
  }
  void modest_works() {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      BOOST_REQUIRE_EQUAL(modest.call(VMSRS_CALL_USER_BEGIN, i).status, VMSRS_OK);
      const std::uint64_t at = address_of(other) + 64 * (i % kWords);
      BOOST_REQUIRE_EQUAL(modest.call(VMSRS_CALL_STORE, at, i, 8).status, VMSRS_OK);
      BOOST_REQUIRE_EQUAL(modest.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
    }
    const vmsrs_server_info info = manager.info(modest_number);
    BOOST_CHECK_EQUAL(info.no_storage_count, 0u);
    BOOST_CHECK_EQUAL(info.unprotected_store_count, 0u);
    BOOST_CHECK_LE(info.storage_used_bytes, kQuota);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(quotas, Site)

BOOST_AUTO_TEST_CASE(storage_used_up_and_refused) {
  BOOST_CHECK_GT(use_up(VMSRS_STORAGE_REFUSE).storage_used_bytes, kQuota - VMSRS_PAGE_BYTES);
  // Its user ends, and there is room again.
  BOOST_CHECK_EQUAL(greedy.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
  greedy.call(VMSRS_CALL_USER_BEGIN, 2);
  BOOST_CHECK_EQUAL(greedy.call(VMSRS_CALL_STORE, address_of(large), 8, 8).status, VMSRS_OK);
  BOOST_CHECK_EQUAL(greedy.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
  BOOST_CHECK_EQUAL(storage_check().verdict, VMSRS_VERDICT_OK);
}

BOOST_AUTO_TEST_CASE(storage_used_up_and_unprotected) {
  const vmsrs_server_info full = use_up(VMSRS_STORAGE_UNPROTECTED);
  BOOST_CHECK_EQUAL(full.unprotected_store_count + full.record_count, kWords);
  // A crash takes back what was recorded, and no more.
  const vmsrs_fault fault{VMSRS_FAULT_CHECK, 1, 0, 0};
  BOOST_CHECK_EQUAL(greedy.call(VMSRS_CALL_USER_CRASH, address_of(&fault)).status, VMSRS_OK);
  BOOST_CHECK_EQUAL(greedy.call(VMSRS_CALL_USER_END).status, VMSRS_CRASHED);
  while (greedy.call(VMSRS_CALL_USER_COLLECT).status == VMSRS_AGAIN) continue;
  std::uint64_t stayed = 0;
  for (std::size_t i = 0; i < kWords; ++i) stayed += word(large, i) == 7;
  BOOST_CHECK_EQUAL(stayed, full.unprotected_store_count);
  BOOST_CHECK_EQUAL(word(large, 0), 0u);
  const vmsrs_check_result storage = storage_check();
  BOOST_CHECK_EQUAL(storage.verdict, VMSRS_VERDICT_UNPROTECTED);
  BOOST_CHECK_EQUAL(storage.server, greedy_number);
  BOOST_CHECK_EQUAL(storage.detail, full.unprotected_store_count);
}

BOOST_AUTO_TEST_CASE(users_used_up) {
  start(VMSRS_STORAGE_REFUSE);
  const auto begin = [](Client& client, std::uint64_t thread) {
    vmsrs::hosted::Registers registers{VMSRS_CALL_USER_BEGIN, thread, 0, 0, 0, 0, 0};
    vmsrs::hosted::SpinBudget budget = 0;
    const std::uint32_t lane = client.take_lane(thread);
    BOOST_REQUIRE(vmsrs::hosted::call_on_lane(client.link(), lane, thread, registers, budget) ==
                  vmsrs::hosted::LaneResult::kAnswered);
    return registers.rax;
  };
  for (std::uint64_t thread = 1; thread <= 4; ++thread)
    BOOST_CHECK_EQUAL(begin(greedy, thread), VMSRS_OK);
  BOOST_CHECK_EQUAL(begin(greedy, 5), VMSRS_NO_SLOT);
  for (std::uint64_t thread = 1; thread <= 3; ++thread)
    BOOST_CHECK_EQUAL(begin(modest, thread), VMSRS_OK);
  modest_works();
}

BOOST_AUTO_TEST_CASE(what_is_kept_stays_within_the_quota) {
  greedy_number = manager.define("greedy", secret_of(1), kQuota);
  modest_number = manager.define("modest", secret_of(2), kQuota);
  {
    Client first(hosted.socket());
    std::byte* const memory = attach(first, "greedy", 1);
    BOOST_REQUIRE_EQUAL(first.profile_named(memory, kBytes, "stock", 64).status, VMSRS_OK);
  }
  BOOST_REQUIRE(manager.is_detached(greedy_number));
  BOOST_CHECK_EQUAL(manager.info(greedy_number).kept_bytes, kBytes);
  const std::uint64_t kept = manager.info(greedy_number).storage_used_bytes;
  std::byte* const memory = attach(greedy, "greedy", 1);
  BOOST_CHECK_EQUAL(greedy.profile(memory, kBytes, 64), VMSRS_NO_STORAGE);
  BOOST_CHECK_EQUAL(manager.info(greedy_number).storage_used_bytes, kept);
  other = open(modest, "modest", 2);
  modest_works();
  const Answer again = greedy.profile_named(memory, kBytes, "stock", 64);
  BOOST_CHECK_EQUAL(again.status, VMSRS_OK);
  BOOST_CHECK_EQUAL(again.rsi, 1u);
}

BOOST_AUTO_TEST_SUITE_END()
