// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "collectors/exposition.hpp"
#include "fake_channel.hpp"
#include "scratch.hpp"

namespace vmsrs::test {
namespace {

std::string text_of(FakeChannel& channel, const daemon::CheckLedger& ledger) {
  daemon::EventLedger events;
  events.change([](daemon::EventLedger::Counts& counts) {
    counts.stored = {{"crash", 7}, {"guest_end", 2}};
    counts.lost = 1;
    counts.kept = 9;
    counts.bytes = 8192;
    counts.last_drain = 1699999998;
    counts.writable = true;
    counts.durations[1] = 3;
    counts.durations[8] = 1;
    counts.duration_sum = 61.5;
  });
  const Scratch process;
  std::ofstream(process.path("stat"))
      << "77 (a ) name) S 1 77 77 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1000 268435456 2560 "
         "18446744073709551615\n";
  std::ofstream(process.path("limits"))
      << "Limit                     Soft Limit           Hard Limit           Units     \n"
         "Max open files            8192                 524288               files     \n";
  std::filesystem::create_directory(process.path("fd"));
  for (const char* number : {"0", "1", "2", "7"})
    std::filesystem::create_symlink("/dev/null", process.path(std::string("fd/") + number));
  return collectors::Exposition(channel, ledger, events, fixed_clock(), {}, process.path(""))
      .text();
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(metrics)

// After a change that is meant: VMSRS_UPDATE_GOLDEN=1, then read the difference.
BOOST_AUTO_TEST_CASE(text_is_the_golden_one) {
  FakeChannel channel;
  channel.stats_now.lost_event_count = 4;
  daemon::CheckLedger ledger;
  vmsrs_check_report report{};
  report.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 0, 12, 3, 64};
  ledger.record(report, 1699999999);
  const std::string text = text_of(channel, ledger);
  const std::string golden = VMSRS_GOLDEN_FOLDER "/metrics.txt";
  if (std::getenv("VMSRS_UPDATE_GOLDEN") != nullptr) std::ofstream(golden) << text;
  BOOST_TEST(text == read_file(golden));
}

BOOST_AUTO_TEST_CASE(promtool_finds_nothing_to_blame) {
  if (!std::filesystem::exists(VMSRS_PROMTOOL)) {
    BOOST_TEST_MESSAGE("SKIP: promtool (Debian package prometheus) is not installed");
    std::puts("SKIP: promtool (Debian package prometheus) is not installed");
    return;
  }
  const Finished finished =
      run({"/bin/sh", "-c", VMSRS_PROMTOOL " check metrics <" VMSRS_GOLDEN_FOLDER "/metrics.txt"});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(finished.err == "");
}

BOOST_AUTO_TEST_CASE(free_devices_are_told_and_unknown_ones_are_not) {
  FakeChannel channel;
  channel.stats_now.devices = VMSRS_DEVICES_FREE;
  BOOST_TEST(has_line(text_of(channel, {}), "vmsrs_devices_confined 0"));
  channel.stats_now.devices = VMSRS_DEVICES_UNKNOWN;
  BOOST_TEST(text_of(channel, {}).find("vmsrs_devices_confined") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_abandoned_engine_is_told_and_is_not_up) {
  FakeChannel channel;
  BOOST_TEST(has_line(text_of(channel, {}), "vmsrs_engine_abandoned 0"));
  channel.stats_now.engine_abandoned = 1;
  const std::string text = text_of(channel, {});
  BOOST_TEST(has_line(text, "vmsrs_engine_abandoned 1"));
  BOOST_TEST(has_line(text, "vmsrs_up 0"));
  BOOST_TEST(has_line(text, "vmsrs_collector_success{collector=\"regions\"} 0"));
}

BOOST_AUTO_TEST_CASE(no_start_of_suppression_without_suppression) {
  FakeChannel channel;
  channel.servers_now[0].oldest_suppression_age_ns = 0;
  const std::string text = text_of(channel, {});
  BOOST_TEST(text.find("vmsrs_oldest_suppression_start_timestamp_seconds{") == std::string::npos);
  BOOST_TEST(has_line(text, "vmsrs_up 1"));
}

BOOST_AUTO_TEST_CASE(violations_count_from_zero_and_add_up) {
  FakeChannel channel;
  daemon::CheckLedger ledger;
  BOOST_TEST(has_line(text_of(channel, ledger),
                      "vmsrs_invariant_violations_total{invariant=\"mirror\"} 0"));
  BOOST_TEST(text_of(channel, ledger).find("vmsrs_last_check") == std::string::npos);
  vmsrs_check_report report{};
  report.results[VMSRS_CHECK_MIRROR] = {VMSRS_VERDICT_VIOLATED, 0, 12, 3, 64};
  ledger.record(report, 1);
  ledger.record(report, 2);
  BOOST_TEST(has_line(text_of(channel, ledger),
                      "vmsrs_invariant_violations_total{invariant=\"mirror\"} 6"));
}

BOOST_AUTO_TEST_CASE(a_collector_that_fails_says_so_and_the_others_go_on) {
  FakeChannel channel;
  channel.exits_status = VMSRS_DENIED;
  const std::string text = text_of(channel, {});
  BOOST_TEST(has_line(text, "vmsrs_collector_success{collector=\"overhead\"} 0"));
  BOOST_TEST(has_line(text, "vmsrs_collector_success{collector=\"faults\"} 1"));
  BOOST_TEST(text.find("vmsrs_hypervisor_exits_total") == std::string::npos);
  BOOST_TEST(has_line(text, "vmsrs_up 1"));
}

BOOST_AUTO_TEST_CASE(the_own_process_is_told) {
  FakeChannel channel;
  const daemon::CheckLedger checks;
  const daemon::EventLedger events;
  const std::string text = collectors::Exposition(channel, checks, events, fixed_clock()).text();
  BOOST_TEST(has_line(text, "vmsrs_collector_success{collector=\"process\"} 1"));
  BOOST_TEST(text.find("\nprocess_open_fds ") != std::string::npos);
  const std::string none =
      collectors::Exposition(channel, checks, events, fixed_clock(), {}, "/nowhere").text();
  BOOST_TEST(has_line(none, "vmsrs_collector_success{collector=\"process\"} 0"));
  BOOST_TEST(none.find("process_open_fds") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_dead_channel_is_down_and_still_text) {
  FakeChannel channel;
  channel.stats_status = VMSRS_DENIED;
  BOOST_TEST(has_line(text_of(channel, {}), "vmsrs_up 0"));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
