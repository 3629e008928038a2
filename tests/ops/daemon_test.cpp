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
#include <thread>

#include "scratch.hpp"

// vmsrsd as a process: as it is installed, and above the monitor.
namespace vmsrs::test {
namespace {

using Json = nlohmann::json;

const std::string kSecret = std::string(64, '1');
const std::string kHash(64, 'a');

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A port that is free now.
int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(descriptor);
  return ntohs(address.sin_port);
}

struct Fixture {
  Scratch scratch;
  int port = free_port();
  std::string socket = scratch.path("api.sock");
  std::string secret_file = scratch.write("secret", kSecret + "\n");

  std::string configure(const std::string& rest = "", const std::string& level = "info") const {
    return scratch.write("vmsrs.yaml",
                         "management: {secret_file: " + secret_file +
                             "}\nmetrics: {listen: '127.0.0.1:" + std::to_string(port) +
                             "'}\napi: {socket: " + socket + "}\nlog: {level: " + level +
                             "}\nreap: {interval_ms: 20}\n" + rest);
  }
  static std::string server(const std::string& name) {
    return "  - {name: " + name + ", attach_secret_sha256: " + kHash + "}\n";
  }
  bool answers() const {
    return run({VMSRS_VMSRSCTL, "--socket", socket, "version"}).exit_code == 0;
  }
};

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
                                 ":8: servers[1]: expected exactly one of attach_secret_file and "
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
