// SPDX-License-Identifier: Apache-2.0
#include <httplib.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "daemon_fixture.hpp"
#include "shared_ring.hpp"

// vmsrsd as a process: as it is installed, and above the monitor.
namespace vmsrs::test {
namespace {

using Json = nlohmann::json;

const std::string kSecret = std::string(64, '1');

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Fixture : DaemonFixture {};

Finished installed(const std::string& file, const std::string& option = "--config") {
  return run({VMSRS_VMSRSD, option, file});
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(daemon_process, Fixture)

BOOST_AUTO_TEST_CASE(without_hypervisor_exits_4_with_one_line) {
  for (const Finished& finished : {run({VMSRS_VMSRSD}), installed(configure())}) {
    BOOST_TEST(finished.exit_code == 4);
    BOOST_TEST(count_lines(finished.err) == 1u);
    BOOST_TEST(contains(finished.err,
                        "no VMSRS hypervisor is running below this Linux, and no "
                        "vmsrs-hosted (/run/vmsrs/hosted.sock: No such file"));
    BOOST_TEST(finished.out == "");
  }
}

BOOST_AUTO_TEST_CASE(platform_that_was_asked_for_is_the_only_one_looked_for) {
  Finished finished = installed(configure("platform: svm\n"));
  BOOST_TEST(finished.exit_code == 4);
  BOOST_TEST(contains(finished.err, "no VMSRS hypervisor is running below this Linux: boot"));
  finished = installed(configure("platform: hosted\nhosted: {socket: /nowhere/socket}\n"));
  BOOST_TEST(finished.exit_code == 4);
  BOOST_TEST(contains(finished.err, "no vmsrs-hosted (/nowhere/socket: No such file"));
  BOOST_TEST(installed(configure("platform: xen\n")).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(broken_configuration_exits_2_with_its_place) {
  const std::string file =
      configure("servers:\n" + server("shop") + "  - {name: b, users: many}\n");
  const Finished finished = installed(file);
  BOOST_TEST(finished.exit_code == 2);
  BOOST_TEST(finished.err == "vmsrsd: " + file +
                                 ":9: servers[1]: expected exactly one of attach_secret_file and "
                                 "attach_secret_sha256, found neither\n");
}

BOOST_AUTO_TEST_CASE(wrong_use_exits_2) {
  BOOST_TEST(run({VMSRS_VMSRSD, "--confg", "x"}).exit_code == 2);
  BOOST_TEST(installed("/nowhere/vmsrs.yaml").exit_code == 2);
  BOOST_TEST(run({VMSRS_VMSRSD, "--version"}).exit_code == 0);
}

BOOST_AUTO_TEST_CASE(configuration_is_checked_with_its_secrets) {
  const std::string file = configure("servers:\n" + server("shop"));
  Finished finished = run({VMSRS_VMSRSD, "--check-config", "--config", file});
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(finished.out == file + ": good, 1 servers\n");
  scratch.write("secret", "short");
  finished = run({VMSRS_VMSRSD, "--check-config", "--config", file});
  BOOST_TEST(finished.exit_code == 2);
  BOOST_TEST(contains(finished.err, file + ":1: management.secret_file: expected a readable file"));
}

BOOST_AUTO_TEST_CASE(wrong_secret_exits_5_with_one_line) {
  scratch.write("secret", std::string(64, '2'));
  const Finished finished = run({VMSRS_VMSRSD_ON_MONITOR, "--config", configure()});
  BOOST_TEST(finished.exit_code == 5);
  BOOST_TEST(count_lines(finished.err) == 1u);
  BOOST_TEST(contains(finished.err, "denies the secret in " + secret_file));
}

// For a machine whose daemon is dead, whatever it died of.
BOOST_AUTO_TEST_CASE(announces_a_reset_without_serving) {
  const std::string said =
      "The next reset is let through to the machine.\nmachine: a reset is announced\n";
  Finished finished = run({VMSRS_VMSRSD_ON_MONITOR, "--announce-reset", "--config", configure()});
  BOOST_TEST(finished.exit_code == 0, finished.err);
  BOOST_TEST(finished.out == said);
  BOOST_TEST(!std::filesystem::exists(socket));
  // The secret is asked for as of the daemon.
  scratch.write("secret", std::string(64, '2'));
  finished = run({VMSRS_VMSRSD_ON_MONITOR, "--announce-reset", "--config", configure()});
  BOOST_TEST(finished.exit_code == 5);
  BOOST_TEST(finished.out == "");
  // A configuration that nobody can use: the secret is where it is without one.
  finished = run({VMSRS_VMSRSD_ON_MONITOR, "--announce-reset", "--config", configure("what: 1\n")});
  BOOST_TEST(contains(finished.err, "; the defaults are used\n"));
  BOOST_TEST(contains(finished.err, "/etc/vmsrs/management.secret"));
  BOOST_TEST(run({VMSRS_VMSRSD, "--announce-reset"}).exit_code == 4);
}

BOOST_AUTO_TEST_CASE(serves_until_it_is_stopped) {
  const std::string file = configure("servers:\n" + server("shop"));
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", file});
  BOOST_REQUIRE(eventually([&] { return answers(); }));

  httplib::Client http("127.0.0.1", port);
  const auto metrics = http.Get("/metrics");
  BOOST_REQUIRE(metrics);
  BOOST_TEST(metrics->get_header_value("Content-Type") ==
             "text/plain; version=0.0.4; charset=utf-8");
  BOOST_TEST(contains(metrics->body, "\nvmsrs_up 1\n"));
  BOOST_TEST(contains(metrics->body, "isolation=\"none\""));
  BOOST_TEST(contains(metrics->body, "vmsrs_user_faults_total{server=\"shop\",kind=\"wild\"} 0\n"));
  BOOST_TEST(contains(metrics->body, "vmsrs_collector_success{collector=\"overhead\"} 1\n"));

  const Finished check = run({VMSRS_VMSRSCTL, "--socket", socket, "check", "-o", "json"});
  BOOST_TEST(check.exit_code == 0, check.err);
  BOOST_TEST(Json::parse(check.out).at("checks").size() == 8u);

  const Finished second = run({VMSRS_VMSRSD_ON_MONITOR, "--config", file});
  BOOST_TEST(second.exit_code == 1);
  BOOST_TEST(answers());

  daemon.signal(SIGTERM);
  const Finished finished = daemon.wait();
  BOOST_TEST(finished.exit_code == 0);
  BOOST_TEST(contains(finished.err, "stopping on signal 15"));
  BOOST_TEST(!std::filesystem::exists(socket));
}

// Lines of the journal are JSON, one an event; what is told besides is not.
BOOST_AUTO_TEST_CASE(events_are_stored_served_and_told_in_lines) {
  SharedRing* const ring = SharedRing::at(scratch.path("ring"));
  BOOST_REQUIRE(ring != nullptr);
  for (int i = 0; i < 30; ++i) BOOST_TEST(ring->add_next());
  const std::vector<std::string> words = {VMSRS_VMSRSD_ON_RING, "--config",
                                          configure("servers:\n" + server("shop"))};
  Program daemon(words, {"VMSRS_TEST_RING=" + scratch.path("ring")});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  BOOST_TEST(eventually([&] { return ring->acknowledged.load() == 30u; }));
  const auto list = [&] {
    return run({VMSRS_VMSRSCTL, "--socket", socket, "-o", "json", "events", "list"});
  };
  const Json events = Json::parse(list().out).at("events");
  BOOST_TEST(events.size() == 30u);
  httplib::Client http("127.0.0.1", port);
  const std::string metrics = http.Get("/metrics")->body;
  BOOST_TEST(contains(metrics, "\nvmsrs_events_total{type=\"crash\"} 2\n"));
  BOOST_TEST(contains(metrics, "\nvmsrs_events_stored 30\n"));
  BOOST_TEST(contains(metrics, "\nvmsrs_events_store_writable 1\n"));
  BOOST_TEST(contains(metrics, "\nvmsrs_events_lost_total{source=\"engine\"} 0\n"));
  BOOST_TEST(contains(metrics, "\nvmsrs_events_lost_total{source=\"daemon\"} 0\n"));
  daemon.signal(SIGTERM);
  const Finished finished = daemon.wait();
  BOOST_TEST(finished.exit_code == 0);
  std::istringstream err(finished.err);
  std::size_t lines = 0;
  for (std::string line; std::getline(err, line);) {
    if (!line.starts_with('{')) continue;
    BOOST_TEST(Json::parse(line) == events.at(lines));
    ++lines;
  }
  BOOST_TEST(lines == 30u);
}

BOOST_AUTO_TEST_CASE(a_store_that_cannot_be_written_hinders_nothing_else) {
  store = scratch.path("secret") + "/events.db";  // below a file
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", configure()});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  BOOST_TEST(eventually([&] { return contains(daemon.err(), "events are not stored"); }));
  httplib::Client http("127.0.0.1", port);
  BOOST_TEST(contains(http.Get("/metrics")->body, "\nvmsrs_events_store_writable 0\n"));
  const Finished list = run({VMSRS_VMSRSCTL, "--socket", socket, "events", "list"});
  BOOST_TEST(list.exit_code == 1);
  BOOST_TEST(contains(list.err, "disk of events.store"));
}

BOOST_AUTO_TEST_CASE(scrubs_in_the_background_unless_the_rate_is_0) {
  for (const std::string rate : {"64KiB", "0"}) {
    Program daemon(
        {VMSRS_VMSRSD_ON_MONITOR, "--config", configure("scrub: {rate: " + rate + "}\n", "debug")});
    BOOST_REQUIRE(eventually([&] { return answers(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    const bool wanted = rate != "0";
    BOOST_TEST(eventually([&] { return contains(daemon.err(), "scrub: ") == wanted; }));
  }
}

BOOST_AUTO_TEST_CASE(scrub_of_the_daemon_is_answered) {
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config",
                  configure("scrub: {rate: 0}\nservers:\n" + server("shop"))});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  const Finished scrub = run({VMSRS_VMSRSCTL, "--socket", socket, "scrub", "--yes"});
  BOOST_TEST(scrub.exit_code == 0, scrub.err);
  BOOST_TEST(contains(scrub.out, "no server is attached"));
}

BOOST_AUTO_TEST_CASE(second_daemon_does_not_take_the_socket) {
  const std::string file = configure();
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", file});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  port = free_port();
  const Finished second = run({VMSRS_VMSRSD_ON_MONITOR, "--config", configure("", "error")});
  BOOST_TEST(second.exit_code == 1);
  BOOST_TEST(second.err == "vmsrsd: " + socket +
                               ": another daemon answers there: stop it first, or choose another "
                               "api.socket\n");
  BOOST_TEST(answers());
}

BOOST_AUTO_TEST_CASE(killed_daemon_leaves_no_hindrance) {
  const std::string file = configure();
  {
    Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", file});
    BOOST_REQUIRE(eventually([&] { return answers(); }));
  }
  BOOST_TEST(std::filesystem::exists(socket));
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", file});
  BOOST_TEST(eventually([&] { return answers(); }));
}

BOOST_AUTO_TEST_CASE(reload_takes_servers_and_refuses_the_rest_by_name) {
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", configure("servers:\n" + server("shop"))});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  const std::string file = configure("servers:\n" + server("roster"), "debug");
  std::string changed = read_file(file);
  changed.insert(changed.find("api: {") + 6, "socket_mode: 0600, ");
  scratch.write("vmsrs.yaml", changed);
  daemon.signal(SIGHUP);
  BOOST_REQUIRE(eventually([&] { return contains(daemon.err(), "again: 1 servers"); }));
  BOOST_TEST(contains(daemon.err(), "api.socket_mode: refused, cannot change while vmsrsd runs"));
  BOOST_TEST(!contains(daemon.err(), "log.level: refused"));
  // The log's level has changed: the scrubbing that goes on is told.
  BOOST_TEST(eventually([&] { return contains(daemon.err(), "debug: scrub: "); }));
  const Finished status = run({VMSRS_VMSRSCTL, "--socket", socket, "status", "-o", "json"});
  BOOST_TEST(Json::parse(status.out).at("restart_needed_for") == Json::array({"api.socket_mode"}));
  BOOST_TEST(contains(daemon.err(), "servers: shop is gone from the file"));
  const Finished list = run({VMSRS_VMSRSCTL, "--socket", socket, "servers", "list", "-o", "json"});
  BOOST_TEST(Json::parse(list.out).at("servers").size() == 2u);

  scratch.write("vmsrs.yaml", "servers: 7\n");
  daemon.signal(SIGHUP);
  BOOST_TEST(eventually([&] {
    return contains(daemon.err(), "not reloaded: " + scratch.path("vmsrs.yaml") +
                                      ":1: servers: expected a list, found \"7\"");
  }));
  BOOST_TEST(answers());
}

BOOST_AUTO_TEST_CASE(reload_stops_the_scrubbing) {
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", configure("", "debug")});
  BOOST_REQUIRE(eventually([&] { return contains(daemon.err(), "scrub: "); }));
  configure("scrub: {rate: 0}\n", "debug");
  daemon.signal(SIGHUP);
  BOOST_REQUIRE(eventually([&] { return contains(daemon.err(), "again: 0 servers"); }));
  const std::size_t before = count_lines(daemon.err());
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  BOOST_TEST(count_lines(daemon.err()) == before);
}

BOOST_AUTO_TEST_CASE(reload_changes_the_management_secret) {
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", configure()});
  BOOST_REQUIRE(eventually([&] { return answers(); }));
  const auto reloads = [&](const std::string& secret, const std::string& said) {
    scratch.write("secret", secret);
    daemon.signal(SIGHUP);
    return eventually([&] { return contains(daemon.err(), said); });
  };
  BOOST_TEST(reloads(kSecret, "again: 0 servers"));
  BOOST_TEST(!contains(daemon.err(), "has been changed"));
  BOOST_TEST(reloads("no secret", "not reloaded: "));
  BOOST_TEST(!contains(daemon.err(), "has been changed"));
  BOOST_TEST(reloads(std::string(64, '2'),
                     "has been changed; until the next boot. For that, put secret_sha256="
                     "9f72ea0cf49536e3c66c787f705186df9a4378083753ae9536d65b3ad7fcddc4"));
  BOOST_TEST(answers());
}

BOOST_AUTO_TEST_CASE(service_manager_is_told) {
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = scratch.path("notify");
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  BOOST_REQUIRE(::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  const timeval timeout{10, 0};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  const auto received = [&] {
    char text[256];
    const ssize_t length = ::recv(descriptor, text, sizeof(text), 0);
    return std::string(text, length < 0 ? 0 : static_cast<std::size_t>(length));
  };
  Program daemon({VMSRS_VMSRSD_ON_MONITOR, "--config", configure()}, {"NOTIFY_SOCKET=" + path});
  BOOST_TEST(received() == "READY=1");
  daemon.signal(SIGHUP);
  BOOST_TEST(received().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  BOOST_TEST(received() == "READY=1");
  daemon.signal(SIGINT);
  BOOST_TEST(received() == "STOPPING=1");
  BOOST_TEST(daemon.wait().exit_code == 0);
  ::close(descriptor);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
