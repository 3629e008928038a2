// SPDX-License-Identifier: Apache-2.0
#include "api/routes.hpp"

#include <httplib.h>

#include <charconv>
#include <limits>
#include <sstream>

#include "channel/names.hpp"

namespace vmsrs::api {
namespace {

constexpr std::size_t kLongestBody = 64 * 1024;
constexpr std::uint64_t kLongestWaitMs = 600000;
const std::vector<std::string> kUserStates = {"active", "crashed", "stuck", "collected"};

void reply(httplib::Response& response, const Answer& answer) {
  response.status = answer.http_status;
  response.set_content(
      answer.body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
      "application/json");
}

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
  if (auto error = read_body(request, {"server", "user", "timeout_ms"}, body)) return *error;
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

Answer get_users(Service& service, const httplib::Request& request) {
  std::vector<std::string> states;
  std::istringstream list(request.get_param_value("state"));
  for (std::string state; std::getline(list, state, ',');) {
    if (std::find(kUserStates.begin(), kUserStates.end(), state) == kUserStates.end()) {
      return bad_request("unknown state \"" + state + "\"",
                         "states are active, crashed, stuck, collected, separated by commas");
    }
    states.push_back(state);
  }
  return service.users(states);
}

// Errors that the HTTP library makes by itself have no body yet.
void fill_error(const httplib::Request& request, httplib::Response& response) {
  if (!response.body.empty()) return;
  switch (response.status) {
    case 404:
      reply(response, error_answer(404, "no_such_path",
                                   "there is nothing at " + request.method + " " + request.path,
                                   "look at docs/api.md for the paths and their methods"));
      break;
    case 413:
      reply(response,
            error_answer(413, "too_large", "the request's body is too large", "at most 64 KiB"));
      break;
    default:
      reply(response, error_answer(response.status, "bad_request", "the request was not understood",
                                   "send a well-formed HTTP/1.1 request"));
  }
}

}  // namespace

void install_routes(httplib::Server& server, Service& service) {
  const auto get = [&](const char* path, Answer (Service::*member)()) {
    server.Get(path, [&service, member](const httplib::Request&, httplib::Response& response) {
      reply(response, (service.*member)());
    });
  };
  get("/v1/status", &Service::status);
  get("/v1/servers", &Service::servers);
  get("/v1/exits", &Service::exits);
  get("/v1/version", &Service::version);
  get("/v1/hypervisor/memory", &Service::memory);
  get("/v1/stats", &Service::stats);
  const auto get_list = [&](const char* path, Answer (Service::*member)(std::uint64_t)) {
    server.Get(path,
               [&service, member](const httplib::Request& request, httplib::Response& response) {
                 reply(response, get_since(service, member, request));
               });
  };
  get_list("/v1/hypervisor/log", &Service::log);
  get_list("/v1/events", &Service::events);
  server.Get("/v1/users", [&service](const httplib::Request& request, httplib::Response& response) {
    reply(response, get_users(service, request));
  });
  server.Post("/v1/gc", [&service](const httplib::Request& request, httplib::Response& response) {
    reply(response, post_collect(service, request));
  });
  server.Post("/v1/scrub",
              [&service](const httplib::Request& request, httplib::Response& response) {
                reply(response, post_scrub(service, request));
              });
  server.Post("/v1/containment",
              [&service](const httplib::Request& request, httplib::Response& response) {
                reply(response, post_containment(service, request));
              });
  server.Post("/v1/check",
              [&service](const httplib::Request& request, httplib::Response& response) {
                reply(response, post_check(service, request));
              });

  server.Post("/v1/hypervisor/announce-reset",
              [&service](const httplib::Request& request, httplib::Response& response) {
                reply(response, post_announce_reset(service, request));
              });

  server.set_payload_max_length(kLongestBody);
  server.set_error_handler(fill_error);
  server.set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
        reply(response, error_answer(500, "internal", "the request could not be carried out",
                                     "look at the log of vmsrsd"));
      });
}

}  // namespace vmsrs::api
