// SPDX-License-Identifier: Apache-2.0
#include "page/page.hpp"

#include <boost/test/unit_test.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "channel/serial_channel.hpp"
#include "fake_channel.hpp"

namespace vmsrs::test {
namespace {

struct Page {
  FakeChannel fake;
  channel::SerialChannel channel{fake};
  page::History history;
  daemon::CheckLedger ledger;
  daemon::Clock clock{.unix_time = fixed_clock().unix_time};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(status_page, Page)

BOOST_AUTO_TEST_CASE(history_tells_rises) {
  history.pass(channel);
  BOOST_TEST(history.steps().empty());  // of what was before the daemon nothing is known
  fake.change([](FakeChannel& f) {
    f.stats_now.faults[1] += 3;
    f.servers_now[0].sweep_restore_count += 5;
    f.servers_now[0].demand_restore_count += 1;
  });
  history.pass(channel);
  history.pass(channel);
  auto steps = history.steps();
  BOOST_REQUIRE(steps.size() == 2u);
  BOOST_TEST(steps[0].faults == 3u);
  BOOST_TEST(steps[0].restores == 6u);
  BOOST_TEST(steps[0].suppressed_users == fake.servers_now[0].crashed_users);
  BOOST_TEST(steps[1].faults == 0u);

  // Nobody answers: no step. Then another hypervisor, whose counters began at 0.
  fake.change([](FakeChannel& f) { f.stats_status = VMSRS_DENIED; });
  history.pass(channel);
  BOOST_TEST(history.steps().size() == 2u);
  fake.change([](FakeChannel& f) {
    f.stats_status = VMSRS_OK;
    for (auto& count : f.stats_now.faults) count = 0;
    f.stats_now.faults[2] = 1;
  });
  history.pass(channel);
  BOOST_TEST(history.steps().back().faults == 1u);

  for (std::size_t i = 0; i < 2 * page::History::kSteps; ++i) history.pass(channel);
  BOOST_TEST(history.steps().size() == page::History::kSteps);
}

BOOST_AUTO_TEST_CASE(document_is_whole_and_tells_no_labels) {
  history.pass(channel);
  history.pass(channel);
  httplib::Server server;
  page::install(server, channel, ledger, history, clock);
  const int port = server.bind_to_any_port("127.0.0.1");
  const std::jthread serving([&server] { server.listen_after_bind(); });
  const auto stopped = [](httplib::Server* running) { running->stop(); };
  const std::unique_ptr<httplib::Server, decltype(stopped)> stop(&server, stopped);
  httplib::Client client("127.0.0.1", port);
  const auto answer = client.Get("/page.json");
  BOOST_REQUIRE(answer);
  const auto page = nlohmann::json::parse(answer->body);
  BOOST_TEST(page.at("problem").is_null());
  BOOST_TEST(page.at("host").at("mode") == "suppression");
  BOOST_REQUIRE(page.at("users").size() == 2u);
  BOOST_TEST(page.at("users").at(0).at("suppressed_seconds") >=
             page.at("users").at(1).at("suppressed_seconds"));
  BOOST_TEST(page.at("servers").size() == 2u);
  BOOST_TEST(page.at("last_check").is_null());
  BOOST_TEST(page.at("history").at("faults").size() == 1u);
  BOOST_TEST(answer->body.find("label") == std::string::npos);
  BOOST_TEST(answer->body.find("trace") == std::string::npos);
  BOOST_TEST(answer->body.find("0xdeadbeef") == std::string::npos);
  // The maps as they were seen last; a new look is asked for when that is long ago.
  BOOST_REQUIRE(page.at("maps").size() == 3u);
  BOOST_TEST(page.at("maps").at(0).at("name") == "carts");
  BOOST_TEST(page.at("maps").at(0).at("bucket_bytes") == 4096);
  BOOST_TEST(page.at("maps").at(0).at("owned").size() == 128u);
  BOOST_TEST(page.at("maps").at(0).at("owned").at(0) == 5);
  BOOST_TEST(page.at("maps").at(0).at("contended").at(0) == 1);
  BOOST_TEST(page.at("maps").at(0).at("restored").at(3) == 4);
  const auto asked = [&] { return std::exchange(fake.calls, {}); };
  const std::vector<std::string> not_anew(3, "map on");
  BOOST_TEST(asked() == not_anew);
  fake.change([](FakeChannel& f) {
    f.map_now.age_ns = 10'000'000'000;
    f.regions_now[0].resize(1);
    f.maps_pending = 2;
  });
  BOOST_REQUIRE(client.Get("/page.json"));  // somebody's look is under way: waits for nobody
  BOOST_TEST(asked() == std::vector<std::string>{"map on"});
  fake.change([](FakeChannel& f) { f.maps_pending = 0; });
  BOOST_REQUIRE(client.Get("/page.json"));
  const std::vector<std::string> anew = {"map on", "map anew"};
  BOOST_TEST(asked() == anew);
  fake.change([](FakeChannel& f) { f.stats_status = VMSRS_DENIED; });
  const auto denied = client.Get("/page.json");
  BOOST_REQUIRE(denied);
  BOOST_TEST(nlohmann::json::parse(denied->body).at("problem") == "denied");

  const auto text = client.Get("/");
  BOOST_REQUIRE(text);
  BOOST_TEST(text->get_header_value("Content-Security-Policy").starts_with("default-src 'none'"));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
