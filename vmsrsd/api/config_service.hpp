// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "api/answer.hpp"
#include "config/config.hpp"

namespace httplib {
class Server;
}

namespace vmsrs::api {

// As they stand in openapi.json, all of them for GET.
inline constexpr const char* kConfigPaths[] = {"/v1/config", "/v1/config/check"};

// What the daemon runs with, and what its file says now. No secret is told: of servers the files
// that have theirs, or that a hash is given. Any thread.
class ConfigService {
 public:
  // `load`: the file and the environment read anew, secrets too; throws std::runtime_error.
  ConfigService(std::string file, std::function<config::Config()> load, config::Config running)
      : file_(std::move(file)), load_(std::move(load)), running_(std::move(running)) {}

  // At a reload; `waiting`: keys whose new values need a restart of the daemon.
  void use(const config::Config& running, const std::vector<std::string>& waiting);

  [[nodiscard]] Answer show() const;
  // What a reload would do now.
  [[nodiscard]] Answer check() const;

 private:
  const std::string file_;
  const std::function<config::Config()> load_;
  mutable std::mutex mutex_;
  config::Config running_;
  std::vector<std::string> waiting_;
};

// Puts /v1/config on an HTTP server. `service` outlives the server.
void install_config_routes(httplib::Server& server, const ConfigService& service);

}  // namespace vmsrs::api
