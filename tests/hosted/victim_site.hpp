// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <memory>

#include "hosted_process.hpp"

namespace vmsrs::test {

// How many kills a test makes: VMSRS_KILL_POINTS, or what it makes in the quick part.
inline unsigned kill_points(unsigned quick) {
  const char* const text = std::getenv("VMSRS_KILL_POINTS");
  return text != nullptr ? static_cast<unsigned>(std::atoi(text)) : quick;
}

// vmsrs-hosted, its manager, and one server (victim.cpp) that is started and killed.
struct VictimSite {
  HostedProcess hosted;
  Manager manager{hosted};
  Secret secret = secret_of(7);
  std::uint32_t server = manager.define("victim", secret);
  std::string secret_file = hosted.secret_file(secret);
  pid_t id = hosted.id();

  void start(const std::vector<std::string>& mode) {
    int ends[2];
    BOOST_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    std::vector<std::string> words = {VMSRS_VICTIM, "victim", secret_file};
    words.insert(words.end(), mode.begin(), mode.end());
    child = std::make_unique<Child>(
        words, std::vector<std::string>{"VMSRS_HOSTED_SOCKET=" + hosted.socket()}, ends[1]);
    close(ends[1]);
    output = ends[0];
  }
  std::string line() const {
    std::string text;
    char c;
    while (read(output, &c, 1) == 1 && c != '\n') text += c;
    return text;
  }
  void kill() {
    child->signal(SIGKILL);
    child->wait();
    close(output);
  }
  void look() {
    BOOST_REQUIRE_MESSAGE(manager.is_reaped(server), "the server's storage is free again");
    look_at_hosted();
  }
  void look_at_hosted() {
    BOOST_REQUIRE_EQUAL(manager.violations(), "");
    BOOST_REQUIRE(hosted.alive());
    BOOST_REQUIRE_EQUAL(hosted.id(), id);
  }

  std::unique_ptr<Child> child;
  int output = -1;
};

}  // namespace vmsrs::test
