// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace httplib {
class Server;
}

namespace vmsrs::api {

class DeepServer;

// An HTTP server on a thread of its own, from construction until destruction. One request a
// connection, a few seconds for each part of it: slow or silent clients keep no thread for long.
class Listener {
 public:
  // A unix socket. Takes the place of a socket that nobody listens on any more; refuses when
  // somebody does. `group`: name or number, empty = unchanged. Throws std::runtime_error.
  static std::unique_ptr<Listener> on_socket(const std::string& path, std::uint32_t mode,
                                             const std::string& group,
                                             const std::function<void(httplib::Server&)>& install);
  // TCP. Throws std::runtime_error.
  static std::unique_ptr<Listener> on_port(const std::string& host, std::uint16_t port,
                                           const std::function<void(httplib::Server&)>& install);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  Listener();
  void start();

  std::unique_ptr<DeepServer> server_;
  std::string socket_path_;  // to remove at the end
  std::thread thread_;
};

}  // namespace vmsrs::api
