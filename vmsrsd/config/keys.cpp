// SPDX-License-Identifier: Apache-2.0
#include "config/keys.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "channel/names.hpp"
#include "config/secrets.hpp"

namespace vmsrs::config {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestPath = 4095;
constexpr std::size_t kLongestSocketPath = 107;  // sun_path without its NUL
constexpr std::size_t kLongestStorePath = 400;   // SQLite takes 512 with its own endings
constexpr std::size_t kMostTlsClients = 256;
constexpr const char* kSizePattern = "^(0|[0-9]+ *(B|KiB|MiB|GiB|TiB))$";

enum class Empty { kRefused, kAllowed };

Key path(const char* name, std::string Config::*member, std::size_t longest, Empty empty,
         Change change, const char* meaning) {
  const bool may_be_empty = empty == Empty::kAllowed;
  const std::string expected = "an absolute path of at most " + std::to_string(longest) +
                               " characters" + (may_be_empty ? ", or \"\"" : "");
  return {
      name,
      meaning,
      change,
      false,
      {{"type", "string"}, {"maxLength", longest}, {"pattern", may_be_empty ? "^(/.*)?$" : "^/"}},
      [=](const Value& value, Config& config) {
        const std::string text = value.text(expected);
        const bool good = text.starts_with('/') || (text.empty() && may_be_empty);
        if (!good || text.size() > longest) value.fail(expected);
        config.*member = text;
      },
      [=](const Config& config) { return config.*member; },
      [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

Key words(const char* name, std::string Config::*member, const char* expected, Change change,
          const char* meaning) {
  return {name,
          meaning,
          change,
          false,
          {{"type", Json::array({"string", "integer"})}},
          [=](const Value& value, Config& config) { config.*member = value.text(expected); },
          [=](const Config& config) { return config.*member; },
          [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

// `member` gives the number's place.
template <typename Member>
Key number(const char* name, Member member, std::uint32_t lowest, std::uint32_t highest,
           Change change, const char* meaning) {
  return {name,
          meaning,
          change,
          false,
          {{"type", "integer"}, {"minimum", lowest}, {"maximum", highest}},
          [=](const Value& value, Config& config) {
            member(config) = static_cast<std::uint32_t>(value.whole_number(lowest, highest));
          },
          [=](Config config) { return std::to_string(member(config)); },
          [=](Config from, Config& to) { member(to) = member(from); }};
}

template <typename Member>
Key size(const char* name, Member member, std::uint64_t lowest, std::uint64_t highest,
         Change change, const char* meaning) {
  return {
      name,
      meaning,
      change,
      false,
      {{"anyOf", Json::array({{{"type", "string"}, {"pattern", kSizePattern}},
                              {{"type", "integer"}, {"const", 0}}})}},
      [=](const Value& value, Config& config) { member(config) = value.bytes(lowest, highest); },
      [=](Config config) { return size_text(member(config)); },
      [=](Config from, Config& to) { member(to) = member(from); }};
}

Key mode(const char* name, std::uint32_t Config::*member, const char* meaning) {
  return {name,
          meaning,
          Change::kAtRestart,
          false,
          {{"type", Json::array({"string", "integer"})}, {"pattern", "^[0-7]{1,4}$"}},
          [=](const Value& value, Config& config) { config.*member = value.file_mode(); },
          [=](const Config& config) {
            char text[8];
            std::snprintf(text, sizeof text, "0%o", config.*member);
            return std::string(text);
          },
          [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

// Empty: nowhere.
Address address_of(const Value& value) {
  const std::string expected = "host:port such as 127.0.0.1:9470 or [::1]:9470";
  const std::string whole = value.text(expected);
  if (whole.empty()) return {};
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
  return {host, static_cast<std::uint16_t>(port)};
}

Key address(const char* name, Address Config::*member, const char* meaning) {
  return {name,
          meaning,
          Change::kAtRestart,
          false,
          {{"type", "string"}, {"pattern", "^(|.+:[0-9]{1,5})$"}},
          [=](const Value& value, Config& config) { config.*member = address_of(value); },
          [=](const Config& config) -> std::string {
            const Address& it = config.*member;
            if (it.host.empty()) return "";
            const bool six = it.host.find(':') != std::string::npos;
            return (six ? "[" + it.host + "]" : it.host) + ":" + std::to_string(it.port);
          },
          [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

Key flag(const char* name, bool Config::*member, Change change, const char* meaning) {
  return {name,
          meaning,
          change,
          false,
          {{"type", "boolean"}},
          [=](const Value& value, Config& config) { config.*member = value.flag(); },
          [=](const Config& config) { return std::string(config.*member ? "true" : "false"); },
          [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

Key choice(const char* name, std::string Config::*member, std::vector<std::string> choices,
           Change change, const char* meaning) {
  return {name,
          meaning,
          change,
          false,
          {{"type", "string"}, {"enum", choices}},
          [=](const Value& value, Config& config) { config.*member = value.one_of(choices); },
          [=](const Config& config) { return config.*member; },
          [=](const Config& from, Config& to) { to.*member = from.*member; }};
}

Key platform() {
  const std::vector<std::string> choices = {"auto", "svm", "hosted"};  // as enum Platform
  return {"platform",
          "Where the engine is: below this Linux, in vmsrs-hosted, or wherever it is found",
          Change::kAtRestart,
          false,
          {{"type", "string"}, {"enum", choices}},
          [=](const Value& value, Config& config) {
            const std::string name = value.one_of(choices);
            const auto place = std::find(choices.begin(), choices.end(), name) - choices.begin();
            config.platform = static_cast<channel::Platform>(place);
          },
          [=](const Config& config) { return choices[static_cast<std::size_t>(config.platform)]; },
          [](const Config& from, Config& to) { to.platform = from.platform; }};
}

void read_tls_clients(const Value& value, Config& config) {
  config.api_tls_clients.clear();
  std::set<std::string> names;
  const std::vector<Value> items = value.items();
  if (items.size() > kMostTlsClients)
    value.fail("at most " + std::to_string(kMostTlsClients) + " clients",
               std::to_string(items.size()));
  for (const Value& item : items) {
    if (!item.given()) item.fail("a client: name and role");
    item.expect_mapping({"name", "role"});
    const std::string name = item["name"].text("a name of the client's certificate");
    if (name.empty()) item["name"].fail("a name of the client's certificate");
    if (!names.insert(name).second) item["name"].fail("a name that no other client has");
    config.api_tls_clients.push_back(
        {name, item["role"].one_of({"observe", "operate"}) == "operate"});
  }
}

Key tls_clients() {
  return {"api.tls.clients",
          "Who may use the API over TLS: names of certificates, with what they may do",
          Change::kAtReload,
          true,
          {{"type", "array"},
           {"maxItems", kMostTlsClients},
           {"items",
            {{"type", "object"},
             {"properties",
              {{"name", {{"type", "string"}, {"minLength", 1}}},
               {"role", {{"type", "string"}, {"enum", {"observe", "operate"}}}}}},
             {"required", {"name", "role"}},
             {"additionalProperties", false}}}},
          read_tls_clients,
          [](const Config& config) {
            std::string all;
            for (const TlsClient& client : config.api_tls_clients)
              all += client.name + (client.operate ? "=operate\n" : "=observe\n");
            return all;
          },
          [](const Config& from, Config& to) { to.api_tls_clients = from.api_tls_clients; }};
}

Json servers_schema() {
  const Json digits = {{"type", Json::array({"string", "integer"})},
                       {"pattern", "^\\s*[0-9A-Fa-f]{64}\\s*$"}};
  const Json file = {{"type", "string"}, {"pattern", "^/"}};
  const Json bytes = {{"anyOf", Json::array({{{"type", "string"}, {"pattern", kSizePattern}},
                                             {{"type", "integer"}, {"const", 0}}})}};
  const auto one_of = [](std::vector<std::string> words) {
    return Json{{"type", "string"}, {"enum", std::move(words)}};
  };
  return {{"type", "array"},
          {"maxItems", VMSRS_MAX_SERVERS},
          {"items",
           {{"type", "object"},
            {"properties",
             {{"name", {{"type", "string"}, {"pattern", "^[-A-Za-z0-9_.]{1,31}$"}}},
              {"account", {{"type", Json::array({"string", "integer"})}}},
              {"attach_secret_file", file},
              {"attach_secret_sha256", digits},
              {"storage_quota", bytes},
              {"storage_full", one_of({"refuse", "unprotected"})},
              {"containment", one_of({"own", "contain", "observe", "off"})},
              {"users", {{"type", "integer"}, {"minimum", 1}, {"maximum", VMSRS_MAX_USERS}}}}},
            {"required", {"name"}},
            {"oneOf", Json::array({{{"required", {"attach_secret_file"}}},
                                   {{"required", {"attach_secret_sha256"}}}})},
            {"additionalProperties", false}}}};
}

std::string text_of_servers(const Config& config) {
  std::string all;
  for (const Server& server : config.servers) {
    all += server.name + ": account " + (server.account ? server.account->name : "any") +
           ", secret " +
           (server.attach_secret_file
                ? "in " + *server.attach_secret_file
                : "by its hash " + hex(*server.attach_secret_sha256).substr(0, 8) + "...") +
           ", storage_quota " + size_text(server.storage_quota_bytes) + ", storage_full " +
           (server.storage_full == VMSRS_STORAGE_REFUSE ? "refuse" : "unprotected") +
           ", containment " +
           (server.containment ? channel::containment_name(*server.containment) : "as it is") +
           ", users " + std::to_string(server.users) + "\n";
  }
  return all;
}

Key servers() {
  return {"servers",         "Servers that may attach",
          Change::kAtReload, true,
          servers_schema(),  read_servers,
          text_of_servers,   [](const Config& from, Config& to) { to.servers = from.servers; }};
}

#define VMSRS_LIMIT(member) \
  [](Config & config) -> auto& { return config.api_limits.member; }
#define VMSRS_MEMBER(member) \
  [](Config & config) -> auto& { return config.member; }

std::vector<Key> make_keys() {
  using enum Change;
  std::vector<Key> keys;
  keys.push_back(platform());
  keys.push_back(path("hosted.socket", &Config::hosted_socket, kLongestSocketPath, Empty::kRefused,
                      kAtRestart, "Unix socket of vmsrs-hosted"));
  keys.push_back(path("management.secret_file", &Config::management_secret_file, kLongestPath,
                      Empty::kRefused, kAtRestart, "File with the management secret"));
  keys.push_back(address("metrics.listen", &Config::metrics, "Where /metrics is served"));
  keys.push_back(flag("metrics.tls", &Config::metrics_tls, kAtRestart,
                      "Serve /metrics over TLS as api.tls says, to its clients only"));
  keys.push_back(path("api.socket", &Config::api_socket, kLongestSocketPath, Empty::kRefused,
                      kAtRestart, "Unix socket of the API"));
  keys.push_back(mode("api.socket_mode", &Config::api_socket_mode, "File mode of api.socket"));
  keys.push_back(words("api.socket_group", &Config::api_socket_group,
                       "the name or number of a group", kAtRestart,
                       "Group of api.socket; its members may make every request"));
  keys.push_back(path("api.read_only_socket", &Config::api_read_only_socket, kLongestSocketPath,
                      Empty::kAllowed, kAtRestart, "Unix socket that only takes GET"));
  keys.push_back(mode("api.read_only_socket_mode", &Config::api_read_only_socket_mode,
                      "File mode of api.read_only_socket"));
  keys.push_back(address("api.tls.listen", &Config::api_tls, "Where the API is served over TLS"));
  keys.push_back(path("api.tls.certificate", &Config::api_tls_certificate, kLongestPath,
                      Empty::kAllowed, kAtReload, "This host's certificate, with its chain (PEM)"));
  keys.push_back(path("api.tls.key", &Config::api_tls_key, kLongestPath, Empty::kAllowed, kAtReload,
                      "Its private key (PEM)"));
  keys.push_back(path("api.tls.client_ca", &Config::api_tls_client_ca, kLongestPath,
                      Empty::kAllowed, kAtReload,
                      "Certificates of those who vouch for clients (PEM)"));
  keys.push_back(tls_clients());
  keys.push_back(number("api.limits.requests_per_second", VMSRS_LIMIT(requests_per_second), 1,
                        100000, kAtReload, "Requests of one peer a second, in the long run"));
  keys.push_back(number("api.limits.burst", VMSRS_LIMIT(burst), 1, 100000, kAtReload,
                        "Requests of one peer at once"));
  keys.push_back(number("api.limits.connections", VMSRS_LIMIT(connections), 8, 4096, kAtReload,
                        "Connections at a time, of each listener"));
  keys.push_back(number("api.limits.threads", VMSRS_LIMIT(threads), 3, 64, kAtRestart,
                        "Threads that carry out requests, of each listener"));
  keys.push_back(size("api.limits.header", VMSRS_LIMIT(header_bytes), 1024, 64 * 1024, kAtReload,
                      "Longest head of a request"));
  keys.push_back(size("api.limits.body", VMSRS_LIMIT(body_bytes), 1024, 1 << 20, kAtReload,
                      "Longest body of a request"));
  keys.push_back(number("api.limits.receive_timeout_ms", VMSRS_LIMIT(receive_timeout_ms), 10, 60000,
                        kAtReload, "Milliseconds until a request must have come, whole"));
  keys.push_back(number("api.limits.send_timeout_ms", VMSRS_LIMIT(send_timeout_ms), 10, 60000,
                        kAtReload, "Milliseconds until a client must have taken its answer"));
  keys.push_back(choice("log.level", &Config::log_level,
                        {"trace", "debug", "info", "warn", "error", "off"}, kAtReload,
                        "What is logged"));
  keys.push_back(number("check.timeout_ms", VMSRS_MEMBER(check_timeout_ms), 1, 600000, kAtReload,
                        "Milliseconds that a check waits for threads of servers"));
  keys.push_back(number("reap.interval_ms", VMSRS_MEMBER(reap_interval_ms), 0, 3600000, kAtReload,
                        "Milliseconds between two looks for dead servers; 0 = never"));
  keys.push_back(size("scrub.rate", VMSRS_MEMBER(scrub_rate_bytes), 0, ~std::uint64_t{0}, kAtReload,
                      "Bytes of each server's regions that are compared in a second; 0 = never"));
  keys.push_back(path("events.store", &Config::event_store, kLongestStorePath, Empty::kRefused,
                      kAtRestart, "File of the event store"));
  keys.push_back(number("events.keep_days", VMSRS_MEMBER(event_keep_days), 0, 36500, kAtReload,
                        "Days after which events are deleted; 0 = never"));
  keys.push_back(size("events.keep_size", VMSRS_MEMBER(event_keep_bytes), 1 << 20,
                      std::uint64_t{1} << 50, kAtReload,
                      "What all events may take; beyond it the oldest are deleted"));
  keys.push_back(path("events.dumps", &Config::event_dumps, kLongestStorePath, Empty::kAllowed,
                      kAtRestart, "Folder in which servers leave dumps; empty = nowhere"));
  keys.push_back(servers());
  return keys;
}

#undef VMSRS_LIMIT
#undef VMSRS_MEMBER

Json default_of(const Key& key) {
  const std::string text = key.text(Config());
  if (key.is_list) return Json::array();
  const auto type = key.schema.find("type");
  if (type != key.schema.end() && *type == "integer") return std::stoull(text);
  if (type != key.schema.end() && *type == "boolean") return text == "true";
  return text;
}

}  // namespace

const std::vector<Key>& keys() {
  static const std::vector<Key> all = make_keys();
  return all;
}

std::string environment_variable(const std::string& key) {
  std::string name = "VMSRS_" + key;
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return name;
}

nlohmann::ordered_json schema() {
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "vmsrs.yaml, the configuration of vmsrsd"},
               {"type", Json::array({"object", "null"})},
               {"properties", Json::object()},
               {"additionalProperties", false}};
  for (const Key& key : keys()) {
    Json* section = &root;
    std::string rest = key.name;
    for (std::size_t dot; (dot = rest.find('.')) != std::string::npos; rest.erase(0, dot + 1)) {
      Json& below = (*section)["properties"][rest.substr(0, dot)];
      if (below.is_null())
        below = {{"type", Json::array({"object", "null"})},
                 {"properties", Json::object()},
                 {"additionalProperties", false}};
      section = &below;
    }
    Json value = key.schema;
    value["description"] = key.meaning;
    // Of the sockets and paths that are not set, there is no default to give.
    if (const Json otherwise = default_of(key); otherwise != "") value["default"] = otherwise;
    (*section)["properties"][rest] = std::move(value);
  }
  return root;
}

}  // namespace vmsrs::config
