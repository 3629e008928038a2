// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "hosted_process.hpp"

// The whole way of a policy: from vmsrs.yaml by vmsrsd to the engine in vmsrs-hosted, and back to
// who looks after it.
using namespace vmsrs::test;

namespace {

struct Site {
  HostedProcess hosted;
  Manager manager{hosted};
  std::string api = hosted.path("api");
  std::string dumps;  // folder; empty: none
  std::unique_ptr<Child> daemon;

  static std::string content(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  }
  bool daemon_says(const std::string& text) const {
    for (unsigned i = 0; i < 2000; ++i, usleep(5000))
      if (content(hosted.path("vmsrsd.log")).find(text) != std::string::npos) return true;
    BOOST_TEST_MESSAGE(content(hosted.path("vmsrsd.log")));
    return false;
  }
  int output_to(const std::string& name) const {
    return open(hosted.path(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  }
  void start_daemon(const std::string& servers) {
    std::ofstream(hosted.path("vmsrs.yaml"))
        << "platform: hosted\nhosted: {socket: " << hosted.socket()
        << "}\nmanagement: {secret_file: " << hosted.secret_file(Manager::secret())
        << "}\nmetrics: {listen: '127.0.0.1:" << free_port() << "'}\napi: {socket: " << api
        << "}\nevents: {store: " << hosted.path("events.db") << ", dumps: '" << dumps
        << "'}\ncheck: {timeout_ms: 10000}\nreap: {interval_ms: 20}\nservers:\n"
        << servers;
    const int log = output_to("vmsrsd.log");
    daemon = std::make_unique<Child>(
        std::vector<std::string>{VMSRS_VMSRSD, "--config", hosted.path("vmsrs.yaml")},
        std::vector<std::string>{}, -1, log);
    close(log);
    BOOST_REQUIRE(daemon_says(" serves "));
  }
  std::string ctl(std::vector<std::string> words, std::optional<int> expected_code = {}) const {
    const int output = output_to("ctl");
    words.insert(words.begin(), {VMSRS_VMSRSCTL, "--socket", api});
    Child child(words, {}, output, output);
    close(output);
    const int code = WEXITSTATUS(child.wait());
    if (expected_code) BOOST_CHECK_EQUAL(code, *expected_code);
    return content(hosted.path("ctl"));
  }
  std::string check(int expected_code) const { return ctl({"check"}, expected_code); }
  // A server with a page, a user, and no room for records. The status of the user's store.
  std::uint64_t store_as(Client& client, const char* name, std::uint8_t secret) {
    BOOST_REQUIRE_EQUAL(client.attach(name, secret_of(secret)).status, VMSRS_OK);
    vmsrs_status status;
    std::byte* const page = client.take_memory(VMSRS_PAGE_BYTES, status);
    BOOST_REQUIRE_EQUAL(client.profile(page, VMSRS_PAGE_BYTES), VMSRS_OK);
    BOOST_REQUIRE_EQUAL(client.call(VMSRS_CALL_USER_BEGIN, 1).status, VMSRS_OK);
    return client.call(VMSRS_CALL_STORE, address_of(page), 7, 8).status;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(policy, Site)

BOOST_AUTO_TEST_CASE(from_the_configuration_to_the_check) {
  const auto server = [&](const char* name, std::uint8_t secret, const char* policy) {
    return std::string("  - {name: ") + name +
           ", attach_secret_file: " + hosted.secret_file(secret_of(secret)) +
           ", storage_quota: 8KiB" + policy + "}\n";
  };
  start_daemon(server("strict", 1, "") + server("lenient", 2, ", storage_full: unprotected"));
  Client strict(hosted.socket()), lenient(hosted.socket());
  BOOST_CHECK_EQUAL(store_as(strict, "strict", 1), VMSRS_NO_STORAGE);
  const std::string before = check(0);
  BOOST_CHECK_MESSAGE(before.find("unprotected") == std::string::npos, before);
  BOOST_CHECK_EQUAL(store_as(lenient, "lenient", 2), VMSRS_OK);
  BOOST_CHECK(daemon_says("server lenient runs unprotected: 1 more stores (1 since boot)"));
  const std::string after = check(1);
  BOOST_CHECK_MESSAGE(after.find("unprotected") != std::string::npos, after);
  BOOST_CHECK_MESSAGE(after.find("lenient 0x1") != std::string::npos, after);
  BOOST_CHECK(content(hosted.path("vmsrsd.log")).find("strict runs") == std::string::npos);
}

// The library's dump and the daemon's event meet in the file's name.
BOOST_AUTO_TEST_CASE(an_event_names_the_dump_that_the_library_left) {
  dumps = hosted.path("dumps");
  std::filesystem::create_directory(dumps);
  const std::string secret = hosted.secret_file(secret_of(1));
  start_daemon("  - {name: shop, attach_secret_file: " + secret + "}\n");
  const int log = output_to("leaver.log");
  const Child leaver({VMSRS_LEAVER, "shop", secret, "fault"},
                     {"VMSRS_HOSTED_SOCKET=" + hosted.socket(), "VMSRS_DUMPS=" + dumps}, log, log);
  close(log);
  std::string events;
  for (unsigned i = 0; i < 400 && events.find("leaver_that_faults") == std::string::npos; ++i) {
    usleep(25'000);
    events = ctl({"events", "list", "--type", "crash"});  // the store may not be there yet
  }
  BOOST_REQUIRE_MESSAGE(events.find("leaver_that_faults") != std::string::npos, events);
  const std::vector<std::filesystem::path> files{std::filesystem::directory_iterator(dumps), {}};
  BOOST_REQUIRE_EQUAL(files.size(), 1u);
  const std::string id = std::to_string(std::stoul(events.substr(events.find('\n'))));
  const std::string shown = ctl({"events", "show", id}, 0);
  const std::string command = "gdb " + std::string(VMSRS_LEAVER) + " " + files[0].string() + "\n";
  BOOST_CHECK_MESSAGE(shown.find(command) != std::string::npos, shown);
}

BOOST_AUTO_TEST_SUITE_END()
