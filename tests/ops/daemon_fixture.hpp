// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "scratch.hpp"

namespace vmsrs::test {

// A port that is free now.
inline int free_port() {
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

// What a daemon of the tests needs: secret, socket, port, store and configuration of its own.
struct DaemonFixture {
  Scratch scratch;
  int port = free_port();
  std::string socket = scratch.path("api.sock");
  std::string store = scratch.path("events.db");
  std::string secret_file = scratch.write("secret", std::string(64, '1') + "\n");

  std::string configure(const std::string& rest = "", const std::string& level = "info",
                        const std::string& rest_of_events = "") const {
    return scratch.write(
        "vmsrs.yaml",
        "management: {secret_file: " + secret_file + "}\nmetrics: {listen: '127.0.0.1:" +
            std::to_string(port) + "'}\napi: {socket: " + socket + "}\nlog: {level: " + level +
            "}\nreap: {interval_ms: 20}\nevents: {store: " + store + rest_of_events + "}\n" + rest);
  }
  static std::string server(const std::string& name) {
    return "  - {name: " + name + ", attach_secret_sha256: " + std::string(64, 'a') + "}\n";
  }
  bool answers() const {
    return run({VMSRS_VMSRSCTL, "--socket", socket, "version"}).exit_code == 0;
  }
};

}  // namespace vmsrs::test
