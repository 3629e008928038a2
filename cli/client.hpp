// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

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

// The daemon's API over its unix socket. Every call throws Failure unless it was answered with 200.
class Client {
 public:
  Client(std::string socket, std::chrono::milliseconds timeout)
      : socket_(std::move(socket)), timeout_(timeout) {}

  [[nodiscard]] Json get(const std::string& path) const;
  // The daemon may wait for `timeout()` itself; the answer is awaited a little longer than that.
  [[nodiscard]] Json post(const std::string& path, const Json& body) const;
  [[nodiscard]] std::chrono::milliseconds timeout() const { return timeout_; }

 private:
  [[nodiscard]] Json request(const std::string& method, const std::string& path,
                             const std::string& body) const;

  std::string socket_;
  std::chrono::milliseconds timeout_;
};

}  // namespace vmsrs::cli
