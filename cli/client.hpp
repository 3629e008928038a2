// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace vmsrs::cli {

using Json = nlohmann::ordered_json;

// Why a verb could not do its work: one line for stderr, and the exit code.
class Failure : public std::runtime_error {
 public:
  Failure(int exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  [[nodiscard]] int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// Where a daemon is: at its unix socket, or, if `host` is given, over TLS.
struct Daemon {
  std::string socket = "/run/vmsrs/api.sock";
  std::string read_only_socket;  // empty: the one beside `socket`
  std::string host;              // HOST:PORT
  std::string certificate, key;  // of this client, PEM files
  std::string ca;                // that vouches for the daemon's certificate, PEM file
};

// HOST:PORT, [ADDRESS]:PORT; nothing if it is neither.
[[nodiscard]] std::optional<std::pair<std::string, int>> parse_address(const std::string& text);

// The daemon's API. Where the unix socket may not be opened the read-only one is used, which
// refuses to change anything. Every call throws Failure unless it was answered with 200.
class Client {
 public:
  Client(Daemon daemon, std::chrono::milliseconds timeout);

  [[nodiscard]] Json get(const std::string& path) const;
  // The daemon may wait for `timeout()` itself; the answer is awaited a little longer than that.
  [[nodiscard]] Json post(const std::string& path, const Json& body) const;
  // Hands on each event of a stream of server-sent events, and goes on after the last one when the
  // connection ends; until no daemon has answered for `timeout()`.
  void follow(const std::string& path, const std::function<void(const Json&)>& on_event) const;
  [[nodiscard]] std::chrono::milliseconds timeout() const { return timeout_; }

 private:
  [[nodiscard]] Json request(const std::string& method, const std::string& path,
                             const std::string& body) const;

  [[noreturn]] void fail_to_connect(int error) const;

  Daemon daemon_;
  std::string place_;  // for messages
  std::chrono::milliseconds timeout_;
};

}  // namespace vmsrs::cli
