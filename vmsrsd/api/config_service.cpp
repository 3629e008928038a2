// SPDX-License-Identifier: Apache-2.0
#include "api/config_service.hpp"

#include <httplib.h>

#include <algorithm>
#include <sstream>

#include "config/keys.hpp"

namespace vmsrs::api {
namespace {

// A list has a line for each of its members.
Json value_of(const config::Key& key, const std::string& text) {
  if (!key.is_list) return text;
  Json lines = Json::array();
  std::istringstream all(text);
  for (std::string line; std::getline(all, line);) lines.push_back(line);
  return lines;
}

Json value_of(const config::Key& key, const config::Config& config) {
  return value_of(key, key.text(config));
}

const char* takes(const config::Key& key) {
  return key.change == config::Change::kAtReload ? "reload" : "restart";
}

}  // namespace

void ConfigService::use(const config::Config& running, const std::vector<std::string>& waiting) {
  const std::lock_guard lock(mutex_);
  running_ = running;
  waiting_ = waiting;
}

Answer ConfigService::show() const {
  const std::lock_guard lock(mutex_);
  const config::Config defaults;
  Json list = Json::array();
  for (const config::Key& key : config::keys()) {
    const auto source = running_.sources.find(key.name);
    list.push_back({{"key", key.name},
                    {"value", value_of(key, running_)},
                    {"default", value_of(key, defaults)},
                    {"source", source == running_.sources.end() ? "default" : source->second},
                    {"changes_at", takes(key)},
                    {"restart_needed",
                     std::find(waiting_.begin(), waiting_.end(), key.name) != waiting_.end()},
                    {"meaning", key.meaning}});
  }
  return {200, {{"file", file_}, {"keys", std::move(list)}}};
}

Answer ConfigService::check() const {
  Json document = {
      {"file", file_}, {"good", true}, {"problem", nullptr}, {"changes", Json::array()}};
  try {
    const config::Config fresh = load_();
    const std::lock_guard lock(mutex_);
    for (const config::Key& key : config::keys()) {
      if (key.text(fresh) == key.text(running_)) continue;
      document["changes"].push_back({{"key", key.name},
                                     {"running", value_of(key, running_)},
                                     {"file", value_of(key, fresh)},
                                     {"takes", takes(key)}});
    }
  } catch (const std::exception& error) {
    document["good"] = false;
    document["problem"] = error.what();
  }
  return {200, std::move(document)};
}

void install_config_routes(httplib::Server& server, const ConfigService& service) {
  const auto install = [&](const char* path, Answer (ConfigService::*member)() const) {
    server.Get(path, [&service, member](const httplib::Request&, httplib::Response& response) {
      reply_with(response, (service.*member)());
    });
  };
  install(kConfigPaths[0], &ConfigService::show);
  install(kConfigPaths[1], &ConfigService::check);
}

}  // namespace vmsrs::api
