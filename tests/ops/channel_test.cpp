// SPDX-License-Identifier: Apache-2.0
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>
#include <sstream>

#include "api/service.hpp"
#include "channel/hypercall_channel.hpp"
#include "channel/lists.hpp"
#include "channel/names.hpp"
#include "channel/serial_channel.hpp"
#include "collectors/exposition.hpp"
#include "config/secrets.hpp"
#include "daemon/reaper.hpp"
#include "daemon/storage_watch.hpp"
#include "monitor_machine.hpp"
#include "scratch.hpp"

// The channel against the real monitor and engine.
namespace vmsrs::test {
namespace {

constexpr std::uint32_t kNoProcess = 999999999;  // above any pid_max

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

config::Digest attach_secret() {
  config::Digest secret;
  secret.fill(0x22);
  return secret;
}

// Keeps the token that the last call was made with.
class Listening final : public channel::Hypercall {
 public:
  explicit Listening(MonitorMachine& machine) : below_(machine) {}
  void call(channel::Registers& registers) override {
    last_token = registers.rdi;
    below_.call(registers);
  }
  std::uint64_t last_token = 0;

 private:
  MonitorHypercall below_;
};

struct Fixture {
  MonitorMachine machine;
  MonitorHypercall hypercall{machine};
  channel::HypercallChannel channel{hypercall};
  MonitorServer server{machine, 0x2000};

  void open() {
    BOOST_REQUIRE(channel.open(MonitorMachine::management_secret(),
                               VMSRS_OBSERVE | VMSRS_OPERATE) == VMSRS_OK);
  }
  std::uint32_t define(const char* name, std::uint64_t storage_quota = 0,
                       vmsrs_storage_policy policy = VMSRS_STORAGE_REFUSE) {
    vmsrs_server_definition definition{};
    definition.storage_quota_bytes = storage_quota;
    definition.storage_policy = policy;
    std::strcpy(definition.name, name);
    const config::Digest hash = config::sha256(attach_secret());
    std::copy(hash.begin(), hash.end(), definition.secret_hash);
    std::uint32_t number = 99;
    BOOST_REQUIRE(channel.define(definition, number) == VMSRS_OK);
    return number;
  }
  // A server with a user that has written one word and crashed.
  void crash_a_user() {
    open();
    define("shop");
    BOOST_REQUIRE(server.attach("shop", attach_secret(), kNoProcess) == VMSRS_OK);
    BOOST_REQUIRE(server.profile() == VMSRS_OK);
    BOOST_REQUIRE(server.call(VMSRS_CALL_USER_BEGIN, {7}) == VMSRS_OK);
    BOOST_REQUIRE(server.call(VMSRS_CALL_STORE, {address_of(&server.region[5]), 55, 8}) ==
                  VMSRS_OK);
    BOOST_REQUIRE(server.region[5] == 55u);
    const vmsrs_fault fault{VMSRS_FAULT_NULL, 31, 0x10, 0x401000};
    BOOST_REQUIRE(server.call(VMSRS_CALL_USER_CRASH, {address_of(&fault)}) == VMSRS_OK);
  }
  // A check up to where threads of servers have to answer.
  vmsrs_status look(vmsrs_check_report& report) {
    vmsrs_status status = channel.check(true, report);
    while (status == VMSRS_AGAIN &&
           report.results[VMSRS_CHECK_STORAGE].verdict == VMSRS_VERDICT_PENDING)
      status = channel.check(false, report);
    return status;
  }
  std::vector<vmsrs_user_info> users() {
    std::vector<vmsrs_user_info> list;
    BOOST_REQUIRE(channel::read_users(channel, 0, list) == VMSRS_OK);
    return list;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(channel_on_the_real_monitor, Fixture)

BOOST_AUTO_TEST_CASE(nothing_without_the_secret) {
  vmsrs_stats stats;
  BOOST_TEST(channel.stats(stats) == VMSRS_DENIED);
  config::Digest wrong = MonitorMachine::management_secret();
  wrong[31] ^= 1;
  BOOST_TEST(channel.open(wrong, VMSRS_OBSERVE) == VMSRS_DENIED);
  BOOST_TEST(channel.stats(stats) == VMSRS_DENIED);
  open();
  BOOST_TEST(channel.stats(stats) == VMSRS_OK);
  BOOST_TEST(stats.denied_call_count >= 3u);
}

BOOST_AUTO_TEST_CASE(observing_alone_does_not_operate) {
  BOOST_REQUIRE(channel.open(MonitorMachine::management_secret(), VMSRS_OBSERVE) == VMSRS_OK);
  vmsrs_stats stats;
  BOOST_TEST(channel.stats(stats) == VMSRS_OK);
  BOOST_TEST(channel.reap(0, 1) == VMSRS_DENIED);
}

BOOST_AUTO_TEST_CASE(too_many_wrong_secrets_are_throttled) {
  config::Digest wrong{};
  vmsrs_status status = VMSRS_OK;
  for (int i = 0; i < 20 && status != VMSRS_THROTTLED; ++i) status = channel.open(wrong, 1);
  BOOST_TEST(status == VMSRS_THROTTLED);
}

BOOST_AUTO_TEST_CASE(version_is_for_everybody) {
  channel::Version version;
  BOOST_TEST(channel.version(version) == VMSRS_OK);
  BOOST_TEST(version.abi == VMSRS_ABI_VERSION);
  BOOST_TEST(version.isolation == unsigned{VMSRS_ISOLATION_NONE});
}

BOOST_AUTO_TEST_CASE(token_ends_with_its_channel) {
  Listening listening(machine);
  vmsrs_stats stats;
  {
    channel::HypercallChannel other(listening);
    BOOST_REQUIRE(other.open(MonitorMachine::management_secret(), VMSRS_OBSERVE) == VMSRS_OK);
    BOOST_REQUIRE(other.stats(stats) == VMSRS_OK);
  }
  channel::Registers stolen{.rax = VMSRS_CALL_MGMT_STATS,
                            .rdi = listening.last_token,
                            .rsi = address_of(&stats),
                            .rdx = sizeof(stats)};
  hypercall.call(stolen);
  BOOST_TEST(stolen.rax == unsigned{VMSRS_DENIED});
}

BOOST_AUTO_TEST_CASE(missing_pages_are_touched_and_the_call_repeated) {
  machine.touches_to_ask = 1;
  open();
  machine.touches_to_ask = 1;
  BOOST_TEST(define("shop") == 0u);
  vmsrs_stats stats;
  machine.touches_to_ask = 3;
  BOOST_TEST(channel.stats(stats) == VMSRS_OK);
  vmsrs_server_info info;
  machine.touches_to_ask = 1;
  BOOST_TEST(channel.server(0, info) == VMSRS_OK);
  vmsrs_check_report report;
  machine.touches_to_ask = 1;
  BOOST_TEST(look(report) == VMSRS_OK);
  machine.touches_to_ask = 1;
  BOOST_TEST(users().size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_page_that_stays_missing_is_given_up) {
  open();
  machine.touches_to_ask = 1000000;
  vmsrs_stats stats;
  BOOST_TEST(channel.stats(stats) == VMSRS_TOUCH);
}

BOOST_AUTO_TEST_CASE(definitions_are_numbered_and_replaced) {
  open();
  BOOST_TEST(define("shop") == 0u);
  BOOST_TEST(define("roster") == 1u);
  BOOST_TEST(define("shop") == 0u);
  std::vector<vmsrs_server_info> servers;
  BOOST_REQUIRE(channel::read_servers(channel, servers) == VMSRS_OK);
  BOOST_REQUIRE(servers.size() == 2u);
  BOOST_TEST(channel::server_name(servers[1]) == "roster");
  BOOST_TEST(servers[0].attached == 0u);
}

BOOST_AUTO_TEST_CASE(exits_end_after_the_last_processor) {
  open();
  vmsrs_exits exits;
  BOOST_TEST(channel.exits(2, exits) == VMSRS_NOT_FOUND);
}

BOOST_AUTO_TEST_CASE(containment_is_handed_on) {
  open();
  define("shop");
  vmsrs_server_info info;
  BOOST_TEST(channel.contain(0, VMSRS_SERVER_OBSERVE) == VMSRS_OK);
  BOOST_REQUIRE(channel.server(0, info) == VMSRS_OK);
  BOOST_TEST(info.containment == unsigned{VMSRS_SERVER_OBSERVE});
  BOOST_TEST(channel.contain(0, VMSRS_SERVER_OFF + 1) == VMSRS_BAD_ARGUMENT);
  BOOST_TEST(channel.contain(9, VMSRS_SERVER_OFF) == VMSRS_NOT_FOUND);
}

BOOST_AUTO_TEST_CASE(crashed_user_is_seen_collected_and_remembered) {
  crash_a_user();
  vmsrs_server_info info;
  BOOST_REQUIRE(channel.server(0, info) == VMSRS_OK);
  BOOST_TEST(info.crashed_users == 1u);
  BOOST_TEST((info.mode & VMSRS_MODE_SUPPRESSION) != 0u);
  BOOST_TEST(info.faults[VMSRS_FAULT_NULL] == 1u);
  BOOST_REQUIRE(users().size() == 1u);
  BOOST_TEST(users()[0].state == unsigned{VMSRS_USER_CRASHED});
  BOOST_TEST(users()[0].label == 7u);
  channel::UserLabel label;
  BOOST_TEST(channel.label(users()[0], label) == VMSRS_OK);
  BOOST_TEST(label.bytes == 0u);
  const std::string text = "session 4711";
  BOOST_TEST(server.call(VMSRS_CALL_USER_LABEL,
                         {reinterpret_cast<std::uint64_t>(text.data()), text.size()}) == VMSRS_OK);
  BOOST_TEST(users()[0].label_bytes == text.size());
  BOOST_TEST(channel.label(users()[0], label) == VMSRS_OK);
  BOOST_TEST(channel::label_text(std::span(label.text).first(label.bytes)) == text);
  BOOST_TEST(users()[0].record_count == 1u);

  std::uint64_t left = 0;
  BOOST_TEST(channel.collect(0, channel::kEveryCrashedUser, left) == VMSRS_AGAIN);
  BOOST_TEST(left == 1u);
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;
  BOOST_TEST(server.region[5] == 0u);
  BOOST_TEST(channel.collect(0, channel::kEveryCrashedUser, left) == VMSRS_OK);
  BOOST_TEST(left == 0u);
  BOOST_TEST(users()[0].state == unsigned{VMSRS_USER_CRASHED});  // until its end point

  BOOST_TEST(server.call(VMSRS_CALL_USER_END) == unsigned{VMSRS_CRASHED});
  BOOST_TEST(server.call(VMSRS_CALL_USER_COLLECT) == unsigned{VMSRS_OK});
  BOOST_REQUIRE(users().size() == 1u);
  BOOST_TEST(users()[0].state == unsigned{VMSRS_USER_FREE});
  BOOST_REQUIRE(channel.server(0, info) == VMSRS_OK);
  BOOST_TEST((info.mode & VMSRS_MODE_SUPPRESSION) == 0u);
  std::uint64_t ended = 0;
  for (const std::uint64_t count : info.suppression_histogram) ended += count;
  BOOST_TEST(ended == 1u);
}

BOOST_AUTO_TEST_CASE(events_are_kept_until_they_are_acknowledged) {
  crash_a_user();
  channel::SerialChannel serial(channel);
  std::vector<vmsrs_event> events;
  std::uint64_t next = 0;
  BOOST_REQUIRE(channel::read_events(serial, 0, events, next) == VMSRS_OK);
  std::vector<std::string> types;
  for (const vmsrs_event& event : events) types.emplace_back(channel::event_type_name(event.type));
  BOOST_TEST(types == (std::vector<std::string>{"attached", "suppression_began", "crash"}));
  BOOST_TEST(next == 4u);
  BOOST_TEST(events[2].fault.instruction == 0x401000u);
  BOOST_TEST(serial.acknowledge_events(4) == VMSRS_BAD_ARGUMENT);
  BOOST_TEST(serial.acknowledge_events(2) == VMSRS_OK);
  events.clear();
  BOOST_REQUIRE(channel::read_events(serial, 0, events, next) == VMSRS_OK);
  BOOST_REQUIRE(events.size() == 1u);
  BOOST_TEST(events[0].sequence == 3u);
  // More than fit into one answer.
  for (int i = 0; i < 50; ++i) {
    BOOST_TEST(server.call(VMSRS_CALL_USER_END) == VMSRS_CRASHED);
    BOOST_TEST(server.call(VMSRS_CALL_USER_COLLECT) == VMSRS_OK);
    const vmsrs_fault fault{VMSRS_FAULT_NULL, 31, 0x10, 0x401000};
    BOOST_TEST(server.call(VMSRS_CALL_USER_BEGIN, {7}) == VMSRS_OK);
    BOOST_TEST(server.call(VMSRS_CALL_USER_CRASH, {address_of(&fault)}) == VMSRS_OK);
  }
  events.clear();
  BOOST_REQUIRE(channel::read_events(serial, 0, events, next) == VMSRS_OK);
  BOOST_REQUIRE(events.size() == 201u);
  for (std::size_t i = 0; i < events.size(); ++i) BOOST_TEST(events[i].sequence == 3 + i);
}

BOOST_AUTO_TEST_CASE(check_waits_for_a_thread_of_the_server) {
  crash_a_user();
  vmsrs_check_report report;
  BOOST_TEST(look(report) == VMSRS_AGAIN);
  BOOST_TEST(report.results[VMSRS_CHECK_MIRROR].verdict == unsigned{VMSRS_VERDICT_PENDING});
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;
  BOOST_TEST(channel.check(false, report) == VMSRS_OK);
  for (const vmsrs_check_result& result : report.results) {
    BOOST_TEST(result.verdict == unsigned{VMSRS_VERDICT_OK});
  }
}

BOOST_AUTO_TEST_CASE(check_through_the_service_finds_a_wild_write) {
  crash_a_user();
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;  // the crash's sweep
  server.region[100] = 0x666;                                       // behind everybody's back
  channel::SerialChannel serial(channel);
  daemon::CheckLedger ledger;
  api::Service service(serial, ledger, daemon::Clock(), std::chrono::seconds(10));
  std::atomic<bool> stop = false;
  std::thread thread([&] {
    while (!stop) (void)server.call(VMSRS_CALL_SERVICE);
  });
  const api::Answer answer = service.check(std::nullopt);
  stop = true;
  thread.join();
  BOOST_TEST(answer.http_status == 200);
  BOOST_TEST(answer.body.at("ok") == false);
  BOOST_TEST(answer.body.at("checks")[VMSRS_CHECK_MIRROR].at("verdict") == "violated");
  BOOST_TEST(answer.body.at("checks")[VMSRS_CHECK_MIRROR].at("first_server") == "shop");
}

BOOST_AUTO_TEST_CASE(scrub_restores_a_wild_write) {
  crash_a_user();
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;  // the crash's sweep
  server.region[100] = 0x666;
  channel::ScrubProgress progress;
  BOOST_TEST(channel.scrub(0, channel::kEveryByte, progress) == VMSRS_AGAIN);
  BOOST_TEST(progress.bytes_left == sizeof server.region);
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;
  BOOST_TEST(channel.scrub(0, 0, progress) == VMSRS_OK);
  BOOST_TEST(progress.restored == 1u);
  BOOST_TEST(server.region[100] == 0u);
  BOOST_TEST(channel.scrub(7, 0, progress) == VMSRS_NOT_FOUND);
}

// Room for the region, one page of 4096 bytes in granules of 8, and for nothing else.
BOOST_AUTO_TEST_CASE(unprotected_store_is_in_metric_log_and_check) {
  open();
  define("shop", 2 * VMSRS_PAGE_BYTES, VMSRS_STORAGE_UNPROTECTED);
  BOOST_REQUIRE(server.attach("shop", attach_secret(), kNoProcess) == VMSRS_OK);
  BOOST_REQUIRE(server.profile() == VMSRS_OK);
  BOOST_REQUIRE(server.call(VMSRS_CALL_USER_BEGIN, {7}) == VMSRS_OK);
  daemon::CheckLedger ledger;
  const daemon::EventLedger events;
  const collectors::Exposition exposition(channel, ledger, events, daemon::Clock());
  const auto has = [&](const char* line) {
    return exposition.text().find(line) != std::string::npos;
  };
  BOOST_TEST(has("vmsrs_unprotected_stores_total{server=\"shop\"} 0\n"));
  BOOST_TEST(server.call(VMSRS_CALL_STORE, {address_of(&server.region[5]), 55, 8}) ==
             unsigned{VMSRS_OK});
  BOOST_TEST(has("vmsrs_unprotected_stores_total{server=\"shop\"} 1\n"));
  BOOST_TEST(has("vmsrs_storage_exhausted_total{server=\"shop\"} 0\n"));

  std::ostringstream log;
  const auto former = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  daemon::StorageWatch watch(channel);
  watch.pass();
  const std::string told = log.str();
  watch.pass();
  spdlog::set_default_logger(former);
  BOOST_TEST(told.find("server shop runs unprotected: 1 more stores (1 since boot)") !=
             std::string::npos);
  BOOST_TEST(log.str() == told);  // nothing new, nothing told

  vmsrs_check_report report;
  BOOST_TEST(look(report) == VMSRS_AGAIN);
  while (server.call(VMSRS_CALL_SERVICE) == VMSRS_AGAIN) continue;
  BOOST_TEST(channel.check(false, report) == VMSRS_OK);
  const vmsrs_check_result& storage = report.results[VMSRS_CHECK_STORAGE];
  BOOST_TEST(storage.verdict == unsigned{VMSRS_VERDICT_UNPROTECTED});
  BOOST_TEST(storage.server == 0u);
  BOOST_TEST(storage.detail == 1u);
}

BOOST_AUTO_TEST_CASE(dead_server_is_reaped_and_may_come_back) {
  crash_a_user();
  daemon::Reaper reaper(channel, daemon::Processes());
  reaper.pass();
  vmsrs_server_info info;
  BOOST_REQUIRE(channel.server(0, info) == VMSRS_OK);
  BOOST_TEST(info.attached == 0u);
  BOOST_TEST(info.crashed_users == 0u);
  MonitorServer again(machine, 0x3000);
  BOOST_TEST(again.attach("shop", attach_secret(), 1) == VMSRS_OK);
  BOOST_TEST(channel.reap(0, kNoProcess) == VMSRS_WRONG_STATE);
}

// What the hypervisor leaves on Linux's command line when it gives up is what the operator reads.
BOOST_AUTO_TEST_CASE(no_hypervisor_and_why) {
  const std::string plain = "no VMSRS hypervisor is running below this Linux";
  BOOST_TEST(channel::no_hypervisor("BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet") == plain);
  BOOST_TEST(channel::no_hypervisor("vmsrs.fallback=\"too little memory: no place\" quiet") ==
             plain + " (it gave up at boot: too little memory: no place)");
  BOOST_TEST(channel::no_hypervisor("vmsrs.fallback=\"cut off") ==
             plain + " (it gave up at boot: cut off)");
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
