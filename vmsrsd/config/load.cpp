// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "channel/names.hpp"
#include "config/config.hpp"
#include "config/secrets.hpp"
#include "config/value.hpp"

namespace vmsrs::config {
namespace {

constexpr std::size_t kMostServers = 16;
constexpr std::size_t kLongestName = 31;
constexpr std::uint64_t kMostUsers = 1024;
constexpr std::size_t kLongestSocketPath = 107;  // sun_path without its NUL

std::string path_of(const Value& value, std::string otherwise, std::size_t longest = 4095) {
  if (!value.given()) return otherwise;
  const std::string expected =
      "an absolute path of at most " + std::to_string(longest) + " characters";
  const std::string path = value.text(expected);
  if (!path.starts_with('/') || path.size() > longest) value.fail(expected);
  return path;
}

std::uint32_t milliseconds_of(const Value& value, std::uint32_t otherwise, std::uint32_t lowest,
                              std::uint32_t highest) {
  return value.given() ? static_cast<std::uint32_t>(value.whole_number(lowest, highest))
                       : otherwise;
}

void read_listen(const Value& value, Config& config) {
  if (!value.given()) return;
  const std::string expected = "host:port such as 127.0.0.1:9470 or [::1]:9470";
  const std::string whole = value.text(expected);
  const std::size_t colon = whole.rfind(':');
  if (colon == std::string::npos || colon == 0) value.fail(expected);
  std::string host = whole.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    value.fail(expected);
  }
  const std::string digits = whole.substr(colon + 1);
  const bool all_digits =
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (host.empty() || digits.empty() || digits.size() > 5 || !all_digits) value.fail(expected);
  const unsigned long port = std::stoul(digits);
  if (port == 0 || port > 65535) value.fail(expected + ", with a port from 1 to 65535");
  config.metrics_host = host;
  config.metrics_port = static_cast<std::uint16_t>(port);
}

std::string name_of(const Value& value) {
  const std::string expected =
      "a name of 1 to " + std::to_string(kLongestName) + " letters, digits, '-', '_' or '.'";
  const std::string name = value.text(expected);
  const bool good = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
  if (name.empty() || name.size() > kLongestName || !good) value.fail(expected);
  return name;
}

Server read_server(const Value& value) {
  value.expect_mapping({"name", "attach_secret_file", "attach_secret_sha256", "storage_quota",
                        "storage_full", "containment", "users"});
  Server server;
  server.where = value.where();
  server.name = name_of(value["name"]);
  const Value file = value["attach_secret_file"];
  const Value hash = value["attach_secret_sha256"];
  if (file.given() == hash.given()) {
    value.fail("exactly one of attach_secret_file and attach_secret_sha256",
               file.given() ? "both" : "neither");
  }
  if (file.given()) server.attach_secret_file = path_of(file, "");
  if (hash.given()) {
    const std::string expected = "64 hexadecimal digits";
    server.attach_secret_sha256 = parse_hex(hash.text(expected));
    if (!server.attach_secret_sha256) hash.fail(expected);
  }
  if (const Value quota = value["storage_quota"]; quota.given()) {
    server.storage_quota_bytes = quota.bytes();
  }
  if (const Value full = value["storage_full"]; full.given()) {
    server.storage_full = full.one_of({"refuse", "unprotected"}) == "unprotected"
                              ? VMSRS_STORAGE_UNPROTECTED
                              : VMSRS_STORAGE_REFUSE;
  }
  if (const Value mode = value["containment"]; mode.given())
    server.containment =
        channel::containment_called(mode.one_of({"own", "contain", "observe", "off"}));
  if (const Value users = value["users"]; users.given()) {
    server.users = static_cast<std::uint32_t>(users.whole_number(1, kMostUsers));
  }
  return server;
}

void read_servers(const Value& value, Config& config) {
  std::set<std::string> names;
  const std::vector<Value> items = value.items();
  if (items.size() > kMostServers) {
    value.fail("at most " + std::to_string(kMostServers) + " servers",
               std::to_string(items.size()));
  }
  for (const Value& item : items) {
    if (!item.given())
      item.fail(
          "a server: name, attach_secret_file, storage_quota, storage_full, containment, users");
    config.servers.push_back(read_server(item));
    if (!names.insert(config.servers.back().name).second) {
      item["name"].fail("a name that no other server has");
    }
  }
}

void read_platform(const Value& root, Config& config) {
  if (const Value platform = root["platform"]; platform.given()) {
    const std::string name = platform.one_of({"auto", "svm", "hosted"});
    config.platform = name == "svm"      ? channel::Platform::kSvm
                      : name == "hosted" ? channel::Platform::kHosted
                                         : channel::Platform::kAuto;
  }
  const Value hosted = root["hosted"];
  hosted.expect_mapping({"socket"});
  config.hosted_socket = path_of(hosted["socket"], config.hosted_socket, kLongestSocketPath);
}

Config read(const Value& root) {
  root.expect_mapping({"platform", "hosted", "management", "metrics", "api", "log", "check", "reap",
                       "scrub", "servers"});
  Config config;

  read_platform(root, config);
  const Value management = root["management"];
  management.expect_mapping({"secret_file"});
  config.management_where = management.where();
  config.management_secret_file = path_of(management["secret_file"], config.management_secret_file);

  const Value metrics = root["metrics"];
  metrics.expect_mapping({"listen"});
  read_listen(metrics["listen"], config);

  const Value api = root["api"];
  api.expect_mapping({"socket", "socket_mode", "socket_group"});
  config.api_socket = path_of(api["socket"], config.api_socket, kLongestSocketPath);
  if (api["socket_mode"].given()) config.api_socket_mode = api["socket_mode"].file_mode();
  if (api["socket_group"].given()) {
    config.api_socket_group = api["socket_group"].text("the name or number of a group");
  }

  const Value log = root["log"];
  log.expect_mapping({"level"});
  if (log["level"].given()) {
    config.log_level = log["level"].one_of({"trace", "debug", "info", "warn", "error", "off"});
  }

  const Value check = root["check"];
  check.expect_mapping({"timeout_ms"});
  config.check_timeout_ms =
      milliseconds_of(check["timeout_ms"], config.check_timeout_ms, 1, 600000);

  const Value reap = root["reap"];
  reap.expect_mapping({"interval_ms"});
  config.reap_interval_ms =
      milliseconds_of(reap["interval_ms"], config.reap_interval_ms, 0, 3600000);

  const Value scrub = root["scrub"];
  scrub.expect_mapping({"rate"});
  if (scrub["rate"].given()) config.scrub_rate_bytes = scrub["rate"].bytes();

  read_servers(root["servers"], config);
  return config;
}

}  // namespace

Config load(const std::string& file) {
  std::ifstream stream(file);
  std::ostringstream content;
  if (!stream || !(content << stream.rdbuf())) {
    // An empty file sets failbit too; it is a file of defaults.
    if (!stream.is_open() || stream.bad()) {
      throw Error(file + ":1: document: expected a readable file, found: " + std::strerror(errno));
    }
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(content.str());
    if (documents.size() > 1) {
      throw Error(file + ":1: document: expected one YAML document, found " +
                  std::to_string(documents.size()));
    }
    return read(Value::root(file, documents.empty() ? YAML::Node() : documents.front()));
  } catch (const YAML::Exception& error) {
    throw Error(file + ":" + std::to_string(error.mark.line + 1) +
                ": document: expected well-formed YAML, found: " + error.msg);
  }
}

}  // namespace vmsrs::config
