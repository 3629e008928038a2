// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "api/limits.hpp"

namespace httplib {
class Server;
}

namespace vmsrs::api {

class Reception;
class Router;
class Tls;

// An HTTP server with threads of its own, from construction until destruction. What clients may
// take of it: class Reception.
class Listener {
 public:
  using Install = std::function<void(httplib::Server&)>;
  enum class Access { kReadWrite, kReadOnly };

  // A listening socket that somebody else has made, for socket activation: taken in place of
  // making one; -1: none. It is not removed at the end.
  using Inherited = int;

  // A unix socket. Takes the place of a socket that nobody listens on any more; refuses when
  // somebody does. `group`: name or number, empty = vmsrs, or unchanged where there is no such
  // group. kReadWrite: only root, this process's account and members of the socket's group are let
  // in, whatever its mode says; kReadOnly: everybody, and GET only; `elsewhere` tells them where
  // other requests are taken. Throws std::runtime_error.
  static std::unique_ptr<Listener> on_socket(const std::string& path, std::uint32_t mode,
                                             const std::string& group, const Install& install,
                                             const Limits& limits = {},
                                             Access access = Access::kReadWrite,
                                             const std::string& elsewhere = "",
                                             Inherited inherited = -1);
  // TCP; `tls` null: plain, GET only. `key`: of vmsrs.yaml, for messages. Throws
  // std::runtime_error.
  static std::unique_ptr<Listener> on_port(const std::string& key, const std::string& host,
                                           std::uint16_t port, std::shared_ptr<Tls> tls,
                                           const Install& install, const Limits& limits = {},
                                           Inherited inherited = -1);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void change_limits(const Limits& limits);

 private:
  explicit Listener(const Install& install);

  std::unique_ptr<Router> router_;
  std::unique_ptr<Reception> reception_;
  std::string socket_path_;  // to remove at the end
};

}  // namespace vmsrs::api
