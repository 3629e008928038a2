// SPDX-License-Identifier: Apache-2.0
#include "api/routes.hpp"

#include <httplib.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <limits>
#include <sstream>

#include "api/config_service.hpp"
#include "api/event_routes.hpp"
#include "api/openapi.hpp"
#include "api/reception.hpp"
#include "channel/names.hpp"

namespace vmsrs::api {
namespace {

constexpr std::uint64_t kLongestWaitMs = 600000;
constexpr std::uint64_t kLongestList = 10000;
constexpr std::uint64_t kLongestLookMs = 5000;
constexpr std::uint64_t kUsualLookMs = 1000;
const std::vector<std::string> kUserStates = {"active", "crashed", "stuck", "collected"};

// The body as an object with no other members than `members`; an absent body is an empty object.
std::optional<Answer> read_body(const httplib::Request& request,
                                const std::vector<std::string>& members, Json& body) {
  body = request.body.empty() ? Json::object() : Json::parse(request.body, nullptr, false);
  if (body.is_discarded() || !body.is_object()) {
    return bad_request("the body is not a JSON object", "send {} or leave it out");
  }
  for (const auto& [name, value] : body.items()) {
    if (std::find(members.begin(), members.end(), name) == members.end()) {
      return bad_request("unknown member \"" + name + "\"", "look at docs/api.md for this path");
    }
  }
  return std::nullopt;
}

std::optional<Answer> read_number(const Json& body, const char* name, std::uint64_t highest,
                                  std::optional<std::uint64_t>& number) {
  const auto member = body.find(name);
  if (member == body.end() || member->is_null()) return std::nullopt;
  if (!member->is_number_unsigned() || member->get<std::uint64_t>() > highest) {
    return bad_request(
        std::string("\"") + name + "\" is not a whole number from 0 to " + std::to_string(highest),
        "give it as a plain JSON number");
  }
  number = member->get<std::uint64_t>();
  return std::nullopt;
}

std::optional<Answer> read_server(const Json& body, std::optional<std::string>& server) {
  const auto member = body.find("server");
  if (member == body.end() || member->is_null()) return std::nullopt;
  if (!member->is_string())
    return bad_request("\"server\" is not a string", "give a server's name");
  server = member->get<std::string>();
  return std::nullopt;
}

Answer post_collect(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"server", "user", "timeout_ms", "wait"}, body))
    return *error;
  std::optional<std::uint64_t> slot;
  std::optional<std::uint64_t> timeout;
  if (auto error = read_number(body, "user", VMSRS_MAX_USERS - 1, slot)) return *error;
  if (auto error = read_number(body, "timeout_ms", kLongestWaitMs, timeout)) return *error;
  CollectRequest what;
  if (auto error = read_server(body, what.server)) return *error;
  if (slot) what.slot = static_cast<std::uint32_t>(*slot);
  if (timeout) what.timeout = std::chrono::milliseconds(*timeout);
  if (what.slot && !what.server) {
    return bad_request("\"user\" without \"server\"", "a slot has a meaning in one server only");
  }
  const auto wait = body.find("wait");
  if (wait != body.end() && !wait->is_boolean())
    return bad_request("\"wait\" is not true or false", "false: answers with a job at once");
  what.wait = wait == body.end() || wait->get<bool>();
  return service.collect(what);
}

Answer post_scrub(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"server", "timeout_ms"}, body)) return *error;
  std::optional<std::uint64_t> timeout;
  if (auto error = read_number(body, "timeout_ms", kLongestWaitMs, timeout)) return *error;
  ScrubRequest what;
  if (auto error = read_server(body, what.server)) return *error;
  if (timeout) what.timeout = std::chrono::milliseconds(*timeout);
  return service.scrub(what);
}

Answer post_containment(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"server", "mode"}, body)) return *error;
  std::optional<std::string> server;
  if (auto error = read_server(body, server)) return *error;
  if (!server) return bad_request("\"server\" is missing", "give a server's name");
  const auto member = body.find("mode");
  const auto mode = member != body.end() && member->is_string()
                        ? channel::containment_called(member->get<std::string>())
                        : std::nullopt;
  if (!mode) return bad_request("\"mode\" is missing or unknown", "own, contain, observe or off");
  return service.contain(*server, *mode);
}

Answer post_check(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"timeout_ms"}, body)) return *error;
  std::optional<std::uint64_t> timeout;
  if (auto error = read_number(body, "timeout_ms", kLongestWaitMs, timeout)) return *error;
  if (!timeout) return service.check(std::nullopt);
  return service.check(std::chrono::milliseconds(*timeout));
}

// Of a list with rising numbers, what comes from number "since" on.
Answer get_since(Service& service, Answer (Service::*member)(std::uint64_t),
                 const httplib::Request& request) {
  const std::string text = request.has_param("since") ? request.get_param_value("since") : "0";
  std::uint64_t since = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, since);
  if (error != std::errc() || stop != end)
    return bad_request("\"since\" is not a whole number", "give the \"next\" of an earlier answer");
  return (service.*member)(since);
}

Answer post_announce_reset(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"wanted"}, body)) return *error;
  const auto member = body.find("wanted");
  if (member != body.end() && !member->is_boolean())
    return bad_request("\"wanted\" is not true or false", "true, or false to take it back");
  return service.announce_reset(member == body.end() || member->get<bool>());
}

std::optional<std::uint64_t> parse_number(const std::string& text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::optional<Answer> read_states(const std::string& text, std::vector<std::string>& states) {
  std::istringstream list(text);
  for (std::string state; std::getline(list, state, ',');) {
    if (std::find(kUserStates.begin(), kUserStates.end(), state) == kUserStates.end()) {
      return bad_request("unknown state \"" + state + "\"",
                         "states are active, crashed, stuck, collected, separated by commas");
    }
    states.push_back(state);
  }
  return std::nullopt;
}

Answer get_users(Service& service, const httplib::Request& request) {
  static const std::vector<std::string> kKnown = {"state", "server", "since",
                                                  "sort",  "limit",  "cursor"};
  for (const auto& [name, value] : request.params) {
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
      return bad_request("unknown parameter \"" + name + "\"",
                         "state, server, since, sort, limit and cursor are known");
  }
  UsersRequest what;
  if (auto error = read_states(request.get_param_value("state"), what.states)) return *error;
  if (request.has_param("server")) what.server = request.get_param_value("server");
  if (request.has_param("since")) {
    const auto since = parse_number(request.get_param_value("since"));
    if (!since)
      return bad_request("\"since\" is not a whole number", "give a Unix time in seconds");
    what.crashed_since = static_cast<double>(*since);
  }
  what.sort = request.get_param_value("sort");
  const std::string by = what.sort.starts_with('-') ? what.sort.substr(1) : what.sort;
  if (request.has_param("sort") &&
      std::find(kUserOrders.begin(), kUserOrders.end(), by) == kUserOrders.end())
    return bad_request("unknown order \"" + what.sort + "\"",
                       "age, crashed, records, restores or suppressed_stores, with - before it: "
                       "falling");
  if (request.has_param("limit")) {
    const auto limit = parse_number(request.get_param_value("limit"));
    if (!limit || *limit == 0 || *limit > kLongestList)
      return bad_request(
          "\"limit\" is not a whole number from 1 to " + std::to_string(kLongestList),
          "leave it out for all");
    what.limit = static_cast<std::size_t>(*limit);
  }
  what.cursor = request.get_param_value("cursor");
  return service.users(what);
}

std::optional<Answer> read_parameters(const httplib::Request& request,
                                      const std::vector<std::string>& known) {
  for (const auto& [name, value] : request.params)
    if (std::find(known.begin(), known.end(), name) == known.end())
      return bad_request("unknown parameter \"" + name + "\"", "look at docs/api.md for this path");
  return std::nullopt;
}

// A parameter as a whole number; nothing if it is not given.
std::optional<Answer> read_parameter(const httplib::Request& request, const std::string& name,
                                     std::uint64_t lowest, std::uint64_t highest,
                                     std::optional<std::uint64_t>& number) {
  if (!request.has_param(name)) return std::nullopt;
  number = parse_number(request.get_param_value(name));
  if (number && *number >= lowest && *number <= highest) return std::nullopt;
  return bad_request("\"" + name + "\" is not a whole number from " + std::to_string(lowest) +
                         " to " + std::to_string(highest),
                     "look at docs/api.md for this path");
}

Answer get_regions(Service& service, const httplib::Request& request) {
  if (auto error = read_parameters(request, {})) return *error;
  return service.regions_of(request.matches[1]);
}

Answer get_region(Service& service, const httplib::Request& request) {
  if (auto error = read_parameters(request, {"timeout_ms"})) return *error;
  std::optional<std::uint64_t> timeout;
  if (auto error = read_parameter(request, "timeout_ms", 0, kLongestLookMs, timeout)) return *error;
  const auto number = parse_number(request.matches[2]);
  if (!number || *number >= VMSRS_MAX_REGIONS)
    return bad_request("that is no region",
                       "a whole number from 0 to " + std::to_string(VMSRS_MAX_REGIONS - 1));
  return service.region(request.matches[1], static_cast<std::uint32_t>(*number),
                        std::chrono::milliseconds(timeout.value_or(kUsualLookMs)));
}

Answer get_records(Service& service, const httplib::Request& request) {
  if (auto error = read_parameters(request, {"region", "user", "cursor", "limit", "values"}))
    return *error;
  std::optional<std::uint64_t> region, slot, cursor, limit;
  if (auto error = read_parameter(request, "region", 0, VMSRS_MAX_REGIONS - 1, region))
    return *error;
  if (auto error = read_parameter(request, "user", 0, VMSRS_MAX_USERS - 1, slot)) return *error;
  if (auto error = read_parameter(request, "cursor", 0, ~std::uint64_t{0}, cursor)) return *error;
  if (auto error = read_parameter(request, "limit", 1, kLongestList, limit)) return *error;
  RecordsRequest what;
  what.server = request.matches[1];
  const std::string values = request.get_param_value("values");
  if (request.has_param("values") && values != "true" && values != "false")
    return bad_request("\"values\" is not true or false", "leave it out, or give true");
  what.values = values == "true";
  if (what.values && request.remote_port != kPortOfOperator)
    return error_answer(403, "denied", "what users have stored is not shown to who may only look",
                        "leave \"values\" out, or ask as somebody who may change things: by "
                        "api.socket, or with the role operate in api.tls.clients");
  if (region) what.region = static_cast<std::uint32_t>(*region);
  if (slot) what.slot = static_cast<std::uint32_t>(*slot);
  if (cursor) what.cursor = *cursor;
  if (limit) what.limit = static_cast<std::size_t>(*limit);
  return service.records(what);
}

// Of /v1/users/SERVER/SLOT.
std::optional<std::uint32_t> slot_of(const httplib::Request& request) {
  const auto slot = parse_number(request.matches[2]);
  if (!slot || *slot >= VMSRS_MAX_USERS) return std::nullopt;
  return static_cast<std::uint32_t>(*slot);
}

Answer no_slot() {
  return bad_request("that is no slot",
                     "a whole number from 0 to " + std::to_string(VMSRS_MAX_USERS - 1));
}

Answer get_user(Service& service, const httplib::Request& request) {
  const auto slot = slot_of(request);
  return slot ? service.user(request.matches[1], *slot) : no_slot();
}

Answer post_suppress(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"generation"}, body)) return *error;
  std::optional<std::uint64_t> generation;
  if (auto error = read_number(body, "generation", ~std::uint64_t{0}, generation)) return *error;
  const auto slot = slot_of(request);
  return slot ? service.suppress(request.matches[1], *slot, generation) : no_slot();
}

Answer post_reap(Service& service, const httplib::Request& request) {
  Json body;
  if (auto error = read_body(request, {"process", "force"}, body)) return *error;
  std::optional<std::uint64_t> process;
  if (auto error = read_number(body, "process", 0xffffffff, process)) return *error;
  const auto force = body.find("force");
  if (force != body.end() && !force->is_boolean())
    return bad_request("\"force\" is not true or false", "leave it out, or give true");
  ReapRequest what;
  what.server = request.matches[1];
  if (process) what.process = static_cast<std::uint32_t>(*process);
  what.force = force != body.end() && force->get<bool>();
  if (what.force && !what.process)
    return bad_request("\"force\" without \"process\"", "name the process that is to be reaped");
  return service.reap(what);
}

// Errors that the HTTP library makes by itself have no body yet.
void fill_error(const httplib::Request& request, httplib::Response& response) {
  if (!response.body.empty()) return;
  switch (response.status) {
    case 404:
      reply_with(response,
                 error_answer(404, "no_such_path",
                              "there is nothing at " + request.method + " " + request.path,
                              "look at docs/api.md for the paths and their methods"));
      break;
    default:
      reply_with(response,
                 error_answer(response.status, "bad_request", "the request was not understood",
                              "send a well-formed HTTP/1.1 request"));
  }
}

// A path as in OpenAPI's document: {name} stands for one part of it.
std::string pattern_of(std::string path) {
  for (std::size_t at; (at = path.find('{')) != std::string::npos;)
    path.replace(at, path.find('}', at) + 1 - at, "([^/]+)");
  return path;
}

using Work = Answer (*)(Service&, const httplib::Request&);

template <Answer (Service::*member)()>
Answer plain(Service& service, const httplib::Request&) {
  return (service.*member)();
}

template <Answer (Service::*member)(std::uint64_t)>
Answer since(Service& service, const httplib::Request& request) {
  return get_since(service, member, request);
}

Answer get_server(Service& service, const httplib::Request& request) {
  return service.server(request.matches[1]);
}

Answer get_job(Service& service, const httplib::Request& request) {
  const auto number = parse_number(request.matches[1]);
  return number ? service.job(*number) : bad_request("that is no job", "a whole number");
}

struct Route {
  const char* method;
  const char* path;
  Work work;
};

// All that the API answers; each stands in openapi.json, and nothing else does.
const Route kRoutes[] = {
    {"GET", "/v1/status", plain<&Service::status>},
    {"GET", "/v1/servers", plain<&Service::servers>},
    {"GET", "/v1/servers/{server}", get_server},
    {"POST", "/v1/servers/{server}/reap", post_reap},
    {"GET", "/v1/servers/{server}/regions", get_regions},
    {"GET", "/v1/servers/{server}/regions/{region}", get_region},
    {"GET", "/v1/servers/{server}/records", get_records},
    {"GET", "/v1/regions", plain<&Service::regions>},
    {"GET", "/v1/users", get_users},
    {"GET", "/v1/users/{server}/{slot}", get_user},
    {"POST", "/v1/users/{server}/{slot}/suppress", post_suppress},
    {"POST", "/v1/gc", post_collect},
    {"GET", "/v1/jobs", plain<&Service::jobs>},
    {"GET", "/v1/jobs/{job}", get_job},
    {"POST", "/v1/scrub", post_scrub},
    {"POST", "/v1/containment", post_containment},
    {"POST", "/v1/check", post_check},
    {"GET", "/v1/exits", plain<&Service::exits>},
    {"GET", "/v1/hypervisor/exits", plain<&Service::exits>},
    {"GET", "/v1/hypervisor/log", since<&Service::log>},
    {"GET", "/v1/hypervisor/memory", plain<&Service::memory>},
    {"POST", "/v1/hypervisor/announce-reset", post_announce_reset},
    {"GET", "/v1/version", plain<&Service::version>},
    {"GET", "/v1/stats", plain<&Service::stats>},
};

}  // namespace

std::vector<std::pair<std::string, std::string>> served_requests() {
  std::vector<std::pair<std::string, std::string>> all = {{"GET", "/v1/openapi.json"}};
  for (const char* path : kEventPaths) all.emplace_back("GET", path);
  for (const char* path : kConfigPaths) all.emplace_back("GET", path);
  for (const Route& route : kRoutes) all.emplace_back(route.method, route.path);
  return all;
}

void install_routes(httplib::Server& server, Service& service) {
  for (const Route& route : kRoutes) {
    const auto handler = [&service, work = route.work](const httplib::Request& request,
                                                       httplib::Response& response) {
      reply_with(response, work(service, request));
    };
    const std::string pattern = pattern_of(route.path);
    if (route.method == std::string_view("GET")) {
      server.Get(pattern, handler);
    } else {
      server.Post(pattern, handler);
    }
  }
  server.Get("/v1/openapi.json", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(kOpenApiDocument, "application/json");
  });
  // The library's remote address is the peer's name here; every changing request leaves a line.
  server.set_logger([](const httplib::Request& request, const httplib::Response& response) {
    if (request.method != "GET" && request.method != "HEAD")
      spdlog::info("{} {} by {}: {}", printable(request.method), printable(request.path),
                   request.remote_addr, response.status);
  });
  server.set_error_handler(fill_error);
  server.set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
        reply_with(response, error_answer(500, "internal", "the request could not be carried out",
                                          "look at the log of vmsrsd"));
      });
}

}  // namespace vmsrs::api
