// SPDX-License-Identifier: Apache-2.0
#include "api/event_routes.hpp"

#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "daemon/event_documents.hpp"

namespace vmsrs::api {
namespace {

constexpr std::uint64_t kMostEvents = 1000;
constexpr std::uint64_t kMostId = INT64_MAX - 1;
constexpr std::uint64_t kMostSlot = VMSRS_MAX_USERS - 1;

// A parameter as a whole number up to `highest`; nothing if it is not given.
std::optional<Answer> read_whole(const httplib::Request& request, const char* name,
                                 std::uint64_t lowest, std::uint64_t highest,
                                 std::optional<std::uint64_t>& number) {
  if (!request.has_param(name)) return std::nullopt;
  const std::string text = request.get_param_value(name);
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < lowest || value > highest) {
    return bad_request(std::string("\"") + name + "\" is not a whole number from " +
                           std::to_string(lowest) + " to " + std::to_string(highest),
                       "look at docs/api.md for this path");
  }
  number = value;
  return std::nullopt;
}

std::optional<Answer> read_time(const httplib::Request& request, const char* name,
                                std::optional<double>& time) {
  if (!request.has_param(name)) return std::nullopt;
  const std::string text = request.get_param_value(name);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value))
    return bad_request(std::string("\"") + name + "\" is not a time", "give Unix seconds");
  time = value;
  return std::nullopt;
}

std::optional<Answer> read_known(const httplib::Request& request,
                                 std::initializer_list<const char*> names) {
  for (const auto& [name, value] : request.params) {
    if (std::find(names.begin(), names.end(), name) == names.end())
      return bad_request("unknown parameter \"" + name + "\"", "look at docs/api.md for this path");
  }
  return std::nullopt;
}

std::optional<Answer> read_filter(const httplib::Request& request, store::Filter& filter) {
  if (auto error = read_time(request, "since", filter.since)) return error;
  if (auto error = read_time(request, "until", filter.until)) return error;
  std::optional<std::uint64_t> slot;
  if (auto error = read_whole(request, "user", 0, kMostSlot, slot)) return error;
  if (slot) filter.slot = static_cast<std::uint32_t>(*slot);
  if (request.has_param("server")) filter.server = request.get_param_value("server");
  std::istringstream list(request.get_param_value("type"));
  for (std::string type; std::getline(list, type, ',');) {
    const std::vector<std::string>& types = daemon::event_types();
    if (std::find(types.begin(), types.end(), type) == types.end()) {
      std::string all;
      for (const std::string& one : types) all += (all.empty() ? "" : ", ") + one;
      return bad_request("unknown type \"" + type + "\"",
                         "types are " + all + ", separated by commas");
    }
    filter.types.push_back(type);
  }
  return std::nullopt;
}

Answer get_list(const EventService& service, const httplib::Request& request) {
  store::Filter filter;
  store::Page page;
  if (auto error = read_known(
          request, {"since", "until", "type", "server", "user", "limit", "before", "after"}))
    return *error;
  if (auto error = read_filter(request, filter)) return *error;
  std::optional<std::uint64_t> limit;
  std::optional<std::uint64_t> before;
  std::optional<std::uint64_t> after;
  if (auto error = read_whole(request, "limit", 1, kMostEvents, limit)) return *error;
  if (auto error = read_whole(request, "before", 0, kMostId, before)) return *error;
  if (auto error = read_whole(request, "after", 0, kMostId, after)) return *error;
  if (before && after) return bad_request("\"before\" and \"after\" at a time", "give one of them");
  if (limit) page.limit = static_cast<std::size_t>(*limit);
  if (before) page.before = static_cast<std::int64_t>(*before);
  if (after) page.after = static_cast<std::int64_t>(*after);
  return service.list(filter, page);
}

void get_stream(EventService& service, const httplib::Request& request,
                httplib::Response& response) {
  store::Filter filter;
  if (auto error = read_known(request, {"since", "until", "type", "server", "user"}))
    return reply_with(response, *error);
  if (auto error = read_filter(request, filter)) return reply_with(response, *error);
  std::optional<std::int64_t> last_id;
  if (request.has_header("Last-Event-ID")) {
    const std::string text = request.get_header_value("Last-Event-ID");
    std::int64_t id = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, id);
    if (error != std::errc() || stop != end || id < 0)
      return reply_with(response, bad_request("Last-Event-ID is not the id of an event",
                                              "leave it out to begin with what comes now"));
    last_id = id;
  }
  Answer error;
  const auto stream = service.follow(std::move(filter), last_id, error);
  if (!stream) {
    if (error.http_status == 503) response.set_header("Retry-After", "5");
    return reply_with(response, error);
  }
  response.set_header("Cache-Control", "no-store");
  response.set_chunked_content_provider("text/event-stream",
                                        [stream](std::size_t, httplib::DataSink& sink) {
                                          const std::string text = stream->next();
                                          if (text.empty()) {
                                            sink.done();
                                            return true;
                                          }
                                          return sink.write(text.data(), text.size());
                                        });
}

}  // namespace

void install_event_routes(httplib::Server& server, EventService& service) {
  server.Get("/v1/events",
             [&service](const httplib::Request& request, httplib::Response& response) {
               reply_with(response, get_list(service, request));
             });
  server.Get("/v1/events/stream",
             [&service](const httplib::Request& request, httplib::Response& response) {
               get_stream(service, request, response);
             });
  server.Get(R"(/v1/events/(\d{1,18}))",
             [&service](const httplib::Request& request, httplib::Response& response) {
               reply_with(response, service.get(std::stoll(request.matches[1])));
             });
}

}  // namespace vmsrs::api
