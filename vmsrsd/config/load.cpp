// SPDX-License-Identifier: Apache-2.0
#include <pwd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <set>
#include <system_error>
#include <vector>

#include "channel/names.hpp"
#include "config/config.hpp"
#include "config/keys.hpp"
#include "config/secrets.hpp"

namespace vmsrs::config {
namespace {

constexpr std::size_t kMostServers = 16;
constexpr std::size_t kLongestName = 31;
constexpr std::uint64_t kMostUsers = 1024;

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

Account account_of(const Value& value) {
  const std::string expected = "an account of this host";
  const std::string text = value.text(expected);
  uid_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error == std::errc{} && end == text.data() + text.size() && id != static_cast<uid_t>(-1))
    return {text, id};
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(1 << 16);
  if (getpwnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr)
    value.fail(expected);
  return {text, entry.pw_uid};
}

Server read_server(const Value& value) {
  value.expect_mapping({"name", "account", "attach_secret_file", "attach_secret_sha256",
                        "storage_quota", "storage_full", "containment", "users"});
  Server server;
  server.where = value.where();
  server.name = name_of(value["name"]);
  if (const Value account = value["account"]; account.given()) server.account = account_of(account);
  const Value file = value["attach_secret_file"];
  const Value hash = value["attach_secret_sha256"];
  if (file.given() == hash.given()) {
    value.fail("exactly one of attach_secret_file and attach_secret_sha256",
               file.given() ? "both" : "neither");
  }
  if (file.given()) server.attach_secret_file = file.absolute_path();
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

}  // namespace

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
          "a server: name, account, attach_secret_file, storage_quota, storage_full, containment, "
          "users");
    config.servers.push_back(read_server(item));
    if (!names.insert(config.servers.back().name).second) {
      item["name"].fail("a name that no other server has");
    }
  }
}

namespace {

// The keys directly below `prefix`: "api." has socket, tls and so on.
std::vector<std::string> members(const std::string& prefix) {
  std::vector<std::string> names;
  for (const Key& key : keys()) {
    if (!key.name.starts_with(prefix)) continue;
    const std::size_t dot = key.name.find('.', prefix.size());
    std::string name = key.name.substr(prefix.size(), dot - prefix.size());
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  return names;
}

bool is_key(const std::string& name) {
  return std::any_of(keys().begin(), keys().end(),
                     [&](const Key& key) { return key.name == name; });
}

void expect_sections(const Value& section, const std::string& prefix) {
  const std::vector<std::string> names = members(prefix);
  section.expect_mapping(names);
  for (const std::string& name : names)
    if (!is_key(prefix + name)) expect_sections(section[name], prefix + name + ".");
}

Value member(const Value& root, const std::string& name) {
  const std::size_t dot = name.find('.');
  return dot == std::string::npos ? root[name]
                                  : member(root[name.substr(0, dot)], name.substr(dot + 1));
}

Value of_environment(const Key& key, const char* text) {
  const std::string variable = environment_variable(key.name);
  YAML::Node node(text);
  if (key.is_list) {
    try {
      node = YAML::Load(text);
    } catch (const YAML::Exception& error) {
      throw Error("environment variable " + variable + ": " + key.name +
                  ": expected a list in YAML's or JSON's form, found: " + error.msg);
    }
  }
  return Value::of_environment(variable, key.name, node);
}

// /run/vmsrs/api.sock has /run/vmsrs/api-read-only.sock beside it.
std::string read_only_beside(const std::string& socket) {
  const std::size_t end = socket.ends_with(".sock") ? socket.size() - 5 : socket.size();
  return socket.substr(0, end) + "-read-only" + socket.substr(end);
}

void check_together(const Value& root, const Config& config) {
  const auto need = [&](const char* key, const std::string& value, const char* why) {
    if (value.empty()) member(root, key).fail(std::string("a path, for ") + why + " is given");
  };
  if (!config.api_tls.host.empty() || config.metrics_tls) {
    const char* why = config.metrics_tls ? "metrics.tls" : "api.tls.listen";
    need("api.tls.certificate", config.api_tls_certificate, why);
    need("api.tls.key", config.api_tls_key, why);
    need("api.tls.client_ca", config.api_tls_client_ca, why);
  }
}

Config read(const Value& root) {
  expect_sections(root, "");
  Config config;
  config.management_where = root["management"].where();
  for (const Key& key : keys()) {
    const char* variable = std::getenv(environment_variable(key.name).c_str());
    const Value value =
        variable == nullptr ? member(root, key.name) : of_environment(key, variable);
    if (!value.given()) continue;
    key.read(value, config);
    config.sources[key.name] = variable == nullptr ? "file" : "environment";
  }
  if (!config.sources.contains("api.read_only_socket"))
    config.api_read_only_socket = read_only_beside(config.api_socket);
  check_together(root, config);
  return config;
}

}  // namespace

Config load(const std::string& file) { return read(Value::of_file(file)); }

Config load_without_file() { return read(Value::root("no file", YAML::Node())); }

}  // namespace vmsrs::config
