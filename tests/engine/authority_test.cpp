// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <set>

#include "fixture.hpp"
#include "monitor/sha256.hpp"

// Who may do what: secrets, throttling, tokens, attaching, dead processes.
using namespace vmsrs;
using namespace vmsrs::test;

namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

vmsrs_status open_with(Client& client, const Secret& secret) {
  return client.call(VMSRS_CALL_MGMT_OPEN, address_of(secret.data()), VMSRS_OBSERVE).status;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(authority, OneServer<>)

BOOST_AUTO_TEST_CASE(wrong_name_and_wrong_secret_look_the_same) {
  Client other(0x200000);
  (void)manager.define(token, "second", secret_of(2));
  BOOST_TEST(other.attach("second", secret_of(1), 5).status == VMSRS_DENIED);
  BOOST_TEST(other.attach("nobody", secret_of(2), 5).status == VMSRS_DENIED);
  const Result result = other.attach("second", secret_of(2), 5);
  BOOST_TEST(result.status == VMSRS_OK);
  BOOST_TEST(result.rdx == 1u);
}

BOOST_AUTO_TEST_CASE(secret_differs_in_its_last_bit_only) {
  Secret secret = Machine::management_secret();
  BOOST_TEST(open_with(manager, secret) == VMSRS_OK);
  secret.back() ^= 1;
  BOOST_TEST(open_with(manager, secret) == VMSRS_DENIED);
}

// Secrets are compared as hashes, of which every bit counts.
BOOST_AUTO_TEST_CASE(every_bit_of_a_hash_is_compared) {
  std::uint8_t one[VMSRS_HASH_BYTES] = {}, other[VMSRS_HASH_BYTES] = {};
  BOOST_TEST(vmsrs::recovery::equal_secret(one, other, sizeof one));
  for (std::size_t bit = 0; bit < 8 * sizeof one; ++bit) {
    other[bit / 8] = static_cast<std::uint8_t>(1u << (bit % 8));
    BOOST_TEST(!vmsrs::recovery::equal_secret(one, other, sizeof one));
    other[bit / 8] = 0;
  }
}

BOOST_AUTO_TEST_CASE(attached_process_is_busy) {
  Client other(0x200000);
  BOOST_TEST(a.attach("shop", secret_of(1), kServerProcess).status == VMSRS_BUSY);
  (void)manager.define(token, "second", secret_of(2));
  BOOST_TEST(a.attach("second", secret_of(2), kServerProcess).status == VMSRS_BUSY);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_OK);
  BOOST_TEST(a.call(VMSRS_CALL_DETACH).status == VMSRS_NOT_ATTACHED);
  BOOST_TEST(other.attach("shop", secret_of(1), 5).status == VMSRS_OK);
}

// Linux gave the dead process's page-table root to the next one, which attaches before anybody
// noticed.
BOOST_AUTO_TEST_CASE(page_table_root_used_again) {
  begin(a);
  store(a, 0, 1);
  a.crash();
  (void)manager.define(token, "second", secret_of(2));
  Client heir(kServerSpace, 0xa000);
  BOOST_TEST(heir.attach("second", secret_of(2), 4712).status == VMSRS_OK);
  BOOST_TEST(info().attached == 0u);
  BOOST_TEST(info().record_count == 0u);
  BOOST_TEST(!suppressing());
  BOOST_TEST(heir.call(VMSRS_CALL_USER_END).status == VMSRS_NO_USER);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_CASE(server_restarts_with_the_same_root) {
  begin(a);
  const std::uint64_t generation = window().users[0] >> 2;
  BOOST_TEST(a.attach("shop", secret_of(1), 4712).status == VMSRS_OK);
  BOOST_TEST(window().users[0] >> 2 == generation + 1);
  BOOST_TEST(info().region_count == 0u);
  BOOST_TEST(info().process_id == 4712u);
}

BOOST_AUTO_TEST_CASE(reaping_a_dead_process) {
  const std::uint64_t before = mode();
  begin(a);
  begin(b);
  store(a, 0, 1);
  store(b, 64, 1);
  a.crash();
  BOOST_TEST(manager.reap(token, 0, kServerProcess).status == VMSRS_OK);
  BOOST_TEST(manager.reap(token, 0, kServerProcess).status ==
             VMSRS_WRONG_STATE);
  BOOST_TEST(begin(a) == VMSRS_NOT_ATTACHED);
  BOOST_TEST(mode() == before + 4);
  const vmsrs_server_info seen = info();
  BOOST_TEST(seen.attached == 0u);
  BOOST_TEST(seen.active_users + seen.crashed_users == 0u);
  BOOST_TEST(seen.storage_used_bytes == 0u);
  BOOST_TEST(word(0) == 1u);  // memory that is no longer the server's is left alone
  BOOST_TEST(sound());
  Client next(0x300000);
  BOOST_TEST(next.attach("shop", secret_of(1), 4712).status == VMSRS_OK);
  BOOST_TEST(sound());
}

// What a platform reports that sees processes end.
BOOST_AUTO_TEST_CASE(address_space_that_ends_is_reaped) {
  begin(a);
  store(a, 0, 1);
  BOOST_TEST(vmsrs::monitor::end_address_space(kServerSpace));
  BOOST_TEST(!vmsrs::monitor::end_address_space(kServerSpace));
  BOOST_TEST(begin(a) == VMSRS_NOT_ATTACHED);
  BOOST_TEST(info().storage_used_bytes == 0u);
  (void)vmsrs::monitor::end_address_space(kManagerSpace);  // its tokens are void
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_CLOSE, token).status == VMSRS_DENIED);
}

BOOST_AUTO_TEST_CASE(three_failures_then_waiting_doubles) {
  const Secret wrong = secret_of(9), right = Machine::management_secret();
  for (int i = 0; i < 3; ++i) BOOST_TEST(open_with(manager, wrong) == VMSRS_DENIED);
  std::uint64_t delay = 100 * kMillisecond;
  for (int i = 0; i < 10; ++i) {
    BOOST_TEST(open_with(manager, right) == VMSRS_THROTTLED);
    machine.platform.advance_ns(delay - 20 * kMillisecond);
    BOOST_TEST(open_with(manager, wrong) == VMSRS_THROTTLED);
    machine.platform.advance_ns(20 * kMillisecond);
    BOOST_TEST(open_with(manager, wrong) == VMSRS_DENIED);
    delay = std::min(2 * delay, 10'000 * kMillisecond);
  }
  machine.platform.advance_ns(delay);
  BOOST_TEST(open_with(manager, right) == VMSRS_OK);
  for (int i = 0; i < 3; ++i) BOOST_TEST(open_with(manager, wrong) == VMSRS_DENIED);
}

BOOST_AUTO_TEST_CASE(one_who_guesses_does_not_lock_out_others) {
  Client guesser(0x666000), other(0x200000);
  for (int i = 0; i < 4; ++i) (void)guesser.attach("shop", secret_of(9), 6);
  BOOST_TEST(guesser.attach("shop", secret_of(1), 6).status == VMSRS_THROTTLED);
  BOOST_TEST(other.attach("shop", secret_of(9), 5).status == VMSRS_DENIED);
  // Attaching and management are counted apart.
  BOOST_TEST(open_with(guesser, Machine::management_secret()) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(denials_are_counted) {
  vmsrs_stats before{}, after{};
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&before), sizeof before);
  Client guesser(0x666000);
  for (int i = 0; i < 5; ++i) (void)guesser.attach("shop", secret_of(9), 6);
  (void)manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&after), sizeof after);
  BOOST_TEST(after.denied_call_count - before.denied_call_count == 5u);
}

BOOST_AUTO_TEST_CASE(tokens_belong_to_their_address_space) {
  vmsrs_stats stats{};
  const auto status_with = [&](Client& client, std::uint64_t with) {
    return client.call(VMSRS_CALL_MGMT_STATS, with, address_of(&stats), sizeof stats).status;
  };
  BOOST_TEST(token != 0u);
  BOOST_TEST(status_with(manager, token) == VMSRS_OK);
  Client thief(0x666000);
  BOOST_TEST(status_with(thief, token) == VMSRS_DENIED);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_CLOSE, token).status == VMSRS_OK);
  BOOST_TEST(status_with(manager, token) == VMSRS_DENIED);
}

BOOST_AUTO_TEST_CASE(the_secret_is_changed_while_the_machine_runs) {
  const Secret old = Machine::management_secret(), fresh = secret_of(0x77);
  std::uint8_t hash[VMSRS_HASH_BYTES];
  monitor::sha256(fresh.data(), fresh.size(), hash);
  const std::uint64_t observe = manager.open(VMSRS_OBSERVE).rdx;
  const auto change = [&](std::uint64_t by) {
    return manager.call(VMSRS_CALL_MGMT_SECRET, by, address_of(hash)).status;
  };
  BOOST_TEST(change(observe) == VMSRS_DENIED);
  BOOST_TEST(open_with(manager, old) == VMSRS_OK);
  BOOST_TEST(change(token) == VMSRS_OK);
  BOOST_TEST(open_with(manager, old) == VMSRS_DENIED);
  BOOST_TEST(open_with(manager, fresh) == VMSRS_OK);
  vmsrs_stats stats{};  // what is open stays so
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), sizeof stats).status ==
             VMSRS_OK);
  BOOST_TEST(open_with(manager, fresh) == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(oldest_token_goes_first) {
  std::set<std::uint64_t> tokens{token};
  std::uint64_t last = 0;
  for (int i = 0; i < 32; ++i) tokens.insert(last = manager.open().rdx);
  BOOST_TEST(tokens.size() == 33u);
  vmsrs_stats stats{};
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_STATS, token, address_of(&stats), 8).status ==
             VMSRS_DENIED);
  BOOST_TEST(manager.call(VMSRS_CALL_MGMT_STATS, last, address_of(&stats), 8).status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(capability_bits) {
  for (const std::uint64_t bits : {0ull, 4ull, 7ull, ~0ull})
    BOOST_TEST(manager.open(bits).status == VMSRS_BAD_ARGUMENT);
}

BOOST_AUTO_TEST_CASE(fifteen_more_servers_and_no_seventeenth) {
  for (unsigned i = 1; i < VMSRS_MAX_SERVERS; ++i)
    BOOST_TEST(manager.define(token, "server" + std::to_string(i), secret_of(3)).rdx == i);
  BOOST_TEST(manager.define(token, "another", secret_of(3)).status == VMSRS_NO_SLOT);
  BOOST_TEST(manager.define(token, "server3", secret_of(4)).rdx == 3u);
  Client other(0x200000);
  BOOST_TEST(other.attach("server3", secret_of(3), 1).status == VMSRS_DENIED);
  BOOST_TEST(other.attach("server3", secret_of(4), 1).status == VMSRS_OK);
}

BOOST_AUTO_TEST_CASE(no_window_no_attachment) {
  (void)manager.define(token, "second", secret_of(2));
  machine.platform.set_window(1, nullptr);
  Client other(0x200000);
  BOOST_TEST(other.attach("second", secret_of(2), 1).status == VMSRS_NOT_FOUND);
  BOOST_TEST(other.call(VMSRS_CALL_USER_BEGIN).status == VMSRS_NOT_ATTACHED);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(machine_without_a_secret_has_no_management) {
  Machine machine(Machine::kStorageBytes, false);
  Client manager(kManagerSpace);
  BOOST_TEST(manager.open().status == VMSRS_DENIED);
}
