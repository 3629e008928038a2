// SPDX-License-Identifier: Apache-2.0
#include "api/service.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <thread>
#include <tuple>

#include "api/documents.hpp"
#include "channel/lists.hpp"
#include "channel/names.hpp"
#include "daemon/version.hpp"

namespace vmsrs::api {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollInterval{5};

// Where a user stands in the whole list: unfinished ones of a server by slot, then collected ones.
using Place = std::tuple<std::uint32_t, bool, std::uint32_t, std::uint64_t>;

struct Found {
  Place place;
  std::string server;
  vmsrs_user_info user;
};

Place place_of(std::uint32_t server, const vmsrs_user_info& user) {
  return {server, user.state == VMSRS_USER_FREE, user.slot, user.generation};
}

std::string cursor_text(const Place& place) {
  const auto& [server, collected, slot, generation] = place;
  return std::to_string(server) + "-" + (collected ? "1" : "0") + "-" + std::to_string(slot) + "-" +
         std::to_string(generation);
}

std::optional<Place> parse_cursor(const std::string& text) {
  std::array<std::uint64_t, 4> numbers{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto [stop, error] = std::from_chars(at, end, numbers[i]);
    const bool last = i + 1 == numbers.size();
    if (error != std::errc() || (last ? stop != end : stop == end || *stop != '-'))
      return std::nullopt;
    at = stop + 1;
  }
  return Place{static_cast<std::uint32_t>(numbers[0]), numbers[1] != 0,
               static_cast<std::uint32_t>(numbers[2]), numbers[3]};
}

bool is_wanted(const vmsrs_user_info& user, const UsersRequest& request, double now) {
  const std::vector<std::string>& states = request.states;
  const std::string state = channel::user_state_name(user.state);
  if (!states.empty() && std::find(states.begin(), states.end(), state) == states.end())
    return false;
  if (!request.crashed_since) return true;
  const double crashed = now - static_cast<double>(user.crash_age_ns) / 1e9;
  return user.crash_age_ns != 0 && crashed >= *request.crashed_since;
}

void sort_users(std::vector<Found>& users, const std::string& sort) {
  const bool falling = sort.starts_with('-');
  const std::string by = sort.substr(falling ? 1 : 0);
  const auto value = [&](const Found& one) -> std::uint64_t {
    if (by == "age") return one.user.begin_age_ns;
    if (by == "crashed") return one.user.crash_age_ns;
    if (by == "records") return one.user.record_count;
    if (by == "restores") return one.user.restore_count;
    if (by == "suppressed_stores") return one.user.suppressed_store_count;
    return 0;  // as they stand
  };
  std::sort(users.begin(), users.end(), [&](const Found& a, const Found& b) {
    if (value(a) != value(b)) return falling ? value(a) > value(b) : value(a) < value(b);
    return a.place < b.place;
  });
}

}  // namespace

void Service::pause_before(steady_clock::time_point deadline) const {
  std::this_thread::sleep_until(std::min(deadline, steady_clock::now() + kPollInterval));
}

bool Service::is_over(steady_clock::time_point deadline) const {
  return stopping_ || steady_clock::now() >= deadline;
}

Answer Service::status() {
  vmsrs_stats stats;
  if (const vmsrs_status status = channel_.stats(stats); status != VMSRS_OK) {
    return status_answer(status, "reading the counters");
  }
  std::vector<vmsrs_server_info> servers;
  if (const vmsrs_status status = channel::read_servers(channel_, servers);
      status != VMSRS_OK && status != VMSRS_NO_ENGINE) {
    return status_answer(status, "reading the list of servers");
  }
  Json body = status_document(stats, servers);
  body["last_check"] = last_check_document(ledger_.last());
  const std::lock_guard lock(waiting_mutex_);
  body["restart_needed_for"] = waiting_keys_;
  return {200, std::move(body)};
}

void Service::tell_waiting_keys(std::vector<std::string> keys) {
  const std::lock_guard lock(waiting_mutex_);
  waiting_keys_ = std::move(keys);
}

Answer Service::servers() {
  std::vector<vmsrs_server_info> servers;
  if (const vmsrs_status status = channel::read_servers(channel_, servers); status != VMSRS_OK) {
    return status_answer(status, "reading the list of servers");
  }
  Json list = Json::array();
  for (const vmsrs_server_info& info : servers) list.push_back(server_document(info));
  return {200, {{"servers", std::move(list)}}};
}

Answer Service::server(const std::string& name) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(name, error);
  if (error) return *error;
  return {200, server_document(servers.front())};
}

Answer Service::regions() {
  std::vector<vmsrs_server_info> servers;
  if (const vmsrs_status status = channel::read_servers(channel_, servers); status != VMSRS_OK) {
    return status_answer(status, "reading the list of servers");
  }
  return {200, {{"regions", regions_document(servers)}}};
}

Json Service::document_of(const vmsrs_user_info& user, const std::string& server) {
  channel::UserLabel label;  // one that has gone meanwhile is shown without
  if (user.label_bytes != 0) (void)channel_.label(user, label);
  return user_document(user, server, label);
}

Answer Service::users(const UsersRequest& request) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(request.server, error);
  if (error) return *error;
  std::optional<Place> after;
  if (!request.cursor.empty()) {
    after = parse_cursor(request.cursor);
    if (!after) return bad_request("\"cursor\" is none", "give the \"next\" of an earlier answer");
    if (!request.sort.empty())
      return bad_request("\"cursor\" with \"sort\"",
                         "go through the list without sort, or ask for all of it at once");
  }
  const double now = clock_.unix_time();
  std::vector<Found> found;
  for (const vmsrs_server_info& info : servers) {
    const std::string name = channel::server_name(info);
    std::vector<vmsrs_user_info> users;
    const vmsrs_status status = channel::read_users(channel_, info.server, users);
    if (status != VMSRS_OK) return status_answer(status, "reading the users of " + name);
    for (const vmsrs_user_info& user : users) {
      const Found one{place_of(info.server, user), name, user};
      if (is_wanted(user, request, now) && (!after || one.place > *after)) found.push_back(one);
    }
  }
  sort_users(found, request.sort);
  Json next = nullptr;
  if (request.limit && found.size() > *request.limit) {
    found.resize(*request.limit);
    if (request.sort.empty() && !found.empty()) next = cursor_text(found.back().place);
  }
  Json list = Json::array();
  for (const Found& one : found) list.push_back(document_of(one.user, one.server));
  return {200, {{"users", std::move(list)}, {"next", std::move(next)}}};
}

std::optional<vmsrs_user_info> Service::user_in(const std::string& server, std::uint32_t slot,
                                                std::optional<Answer>& error) {
  const std::vector<vmsrs_server_info> servers = servers_called(server, error);
  if (error) return std::nullopt;
  std::vector<vmsrs_user_info> users;
  const std::uint32_t number = servers.front().server;
  if (const vmsrs_status status = channel::read_users(channel_, number, users);
      status != VMSRS_OK) {
    error = status_answer(status, "reading the users of " + server);
    return std::nullopt;
  }
  std::optional<vmsrs_user_info> best;
  for (vmsrs_user_info& user : users) {
    if (user.slot != slot) continue;
    user.server = number;
    const auto rank = [](const vmsrs_user_info& one) {
      return std::pair(one.state != VMSRS_USER_FREE, one.generation);
    };
    if (!best || rank(user) > rank(*best)) best = user;
  }
  if (!best)
    error = error_answer(404, "not_found",
                         "no user is in slot " + std::to_string(slot) + " of " + server,
                         "look at the list of users: it may be gone by now");
  return best;
}

Answer Service::user(const std::string& server, std::uint32_t slot) {
  std::optional<Answer> error;
  const std::optional<vmsrs_user_info> found = user_in(server, slot, error);
  if (error) return *error;
  return {200, document_of(*found, server)};
}

Answer Service::suppress(const std::string& server, std::uint32_t slot,
                         std::optional<std::uint64_t> generation) {
  std::optional<Answer> error;
  const std::optional<vmsrs_user_info> found = user_in(server, slot, error);
  if (error) return *error;
  // Without a generation: the one that is there now, and no later one.
  const std::uint64_t meant = generation.value_or(found->generation);
  const vmsrs_status status = channel_.suppress(found->server, slot, meant);
  if (status != VMSRS_OK)
    return status_answer(status,
                         "suppressing the user in slot " + std::to_string(slot) + " of " + server);
  spdlog::warn("the user in slot {} of {} (generation {}) is declared crashed", slot, server,
               meant);
  return {200, {{"server", server}, {"slot", slot}, {"generation", meant}}};
}

Answer Service::reap(const ReapRequest& request) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(request.server, error);
  if (error) return *error;
  const vmsrs_server_info& info = servers.front();
  if (!request.force && !processes_.visible())
    return error_answer(409, "wrong_state", "/proc does not show which processes are alive",
                        "name the process, with \"force\"");
  std::vector<std::uint32_t> attached(
      info.process_ids,
      info.process_ids + std::min<std::uint32_t>(info.process_count, VMSRS_MAX_PROCESSES));
  if (request.process) {
    if (std::find(attached.begin(), attached.end(), *request.process) == attached.end())
      return error_answer(
          404, "not_found",
          "no process " + std::to_string(*request.process) + " is attached to " + request.server,
          "look at \"process_ids\" of the server");
    attached = {*request.process};
  }
  Json reaped = Json::array();
  Json alive = Json::array();
  for (const std::uint32_t process : attached) {
    if (!request.force && processes_.start_time(process)) {
      alive.push_back(process);
      continue;
    }
    const vmsrs_status status = channel_.reap(info.server, process);
    if (status == VMSRS_WRONG_STATE) continue;  // it has been reaped meanwhile
    if (status != VMSRS_OK)
      return status_answer(status, "reaping process " + std::to_string(process));
    spdlog::warn("reaped process {} of server {}: asked for", process, request.server);
    reaped.push_back(process);
  }
  if (request.process && !alive.empty())
    return error_answer(409, "wrong_state",
                        "process " + std::to_string(*request.process) + " is alive",
                        "stop it; \"force\" is for a number of another PID namespace");
  return {200,
          {{"server", request.server}, {"reaped", std::move(reaped)}, {"alive", std::move(alive)}}};
}

std::vector<vmsrs_server_info> Service::servers_called(const std::optional<std::string>& name,
                                                       std::optional<Answer>& error) {
  std::vector<vmsrs_server_info> servers;
  if (const vmsrs_status status = channel::read_servers(channel_, servers); status != VMSRS_OK) {
    error = status_answer(status, "reading the list of servers");
    return {};
  }
  if (!name) return servers;
  std::erase_if(servers,
                [&](const vmsrs_server_info& info) { return channel::server_name(info) != *name; });
  if (servers.empty()) {
    error = error_answer(404, "not_found", "no server is called \"" + *name + "\"",
                         "look at the list of servers");
  }
  return servers;
}

Answer Service::collect(const CollectRequest& request) {
  std::optional<Answer> error;
  std::vector<vmsrs_server_info> servers = servers_called(request.server, error);
  if (error) return *error;
  if (!request.server) {
    std::erase_if(servers, [](const vmsrs_server_info& info) { return info.crashed_users == 0; });
  }
  if (!request.wait) {
    CollectRequest waiting = request;
    waiting.wait = true;
    const auto job = jobs_.start("gc", [this, waiting] { return collect(waiting); });
    if (job) return {202, {{"job", *job}}};
    return error_answer(503, "busy",
                        std::to_string(Jobs::kMostRunning) + " jobs are running already",
                        "look at /v1/jobs, and try again when one has ended");
  }

  const auto deadline = steady_clock::now() + request.timeout;
  const std::uint64_t slot = request.slot ? *request.slot : channel::kEveryCrashedUser;
  Json list = Json::array();
  bool complete = true;
  for (const vmsrs_server_info& info : servers) {
    const std::string name = channel::server_name(info);
    std::uint64_t left = 0;
    vmsrs_status status = channel_.collect(info.server, slot, left);
    while (status == VMSRS_AGAIN && !is_over(deadline)) {
      pause_before(deadline);
      status = channel_.collect(info.server, slot, left);
    }
    if (status != VMSRS_OK && status != VMSRS_AGAIN) {
      return status_answer(status, "collecting in " + name);
    }
    complete = complete && status == VMSRS_OK;
    vmsrs_server_info now = info;
    const bool known = channel_.server(info.server, now) == VMSRS_OK;
    const std::uint64_t restored = now.collect_restore_count - info.collect_restore_count;
    list.push_back({{"server", name},
                    {"slot", request.slot ? Json(*request.slot) : Json(nullptr)},
                    {"complete", status == VMSRS_OK},
                    {"restored", known ? Json(restored) : Json(nullptr)},
                    {"records_left", left}});
  }
  return {200, {{"complete", complete}, {"collections", std::move(list)}}};
}

std::optional<Json> Service::scrub_one(const vmsrs_server_info& info,
                                       steady_clock::time_point deadline, vmsrs_status& status) {
  channel::ScrubProgress progress;
  status = channel_.scrub(info.server, channel::kEveryByte, progress);
  while (status == VMSRS_AGAIN && !is_over(deadline)) {
    pause_before(deadline);
    status = channel_.scrub(info.server, 0, progress);
  }
  if (status != VMSRS_OK && status != VMSRS_AGAIN) return std::nullopt;
  return Json{{"server", channel::server_name(info)},
              {"complete", status == VMSRS_OK},
              {"bytes_left", progress.bytes_left},
              {"restored", progress.restored - info.sweep_restore_count}};
}

Answer Service::scrub(const ScrubRequest& request) {
  std::optional<Answer> error;
  std::vector<vmsrs_server_info> servers = servers_called(request.server, error);
  if (error) return *error;
  if (!request.server) {
    std::erase_if(servers, [](const vmsrs_server_info& info) { return info.attached == 0; });
  }
  const auto deadline = steady_clock::now() + request.timeout;
  Json list = Json::array();
  bool complete = true;
  for (const vmsrs_server_info& info : servers) {
    vmsrs_status status = VMSRS_OK;
    std::optional<Json> one = scrub_one(info, deadline, status);
    if (!one) return status_answer(status, "scrubbing " + channel::server_name(info));
    complete = complete && status == VMSRS_OK;
    list.push_back(std::move(*one));
  }
  return {200, {{"complete", complete}, {"scrubs", std::move(list)}}};
}

Answer Service::contain(const std::string& server, std::uint32_t mode) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(server, error);
  if (error) return *error;
  const vmsrs_status status = channel_.contain(servers.front().server, mode);
  if (status != VMSRS_OK) return status_answer(status, "changing the containment of " + server);
  spdlog::warn("containment of {}: {}, was {}", server, channel::containment_name(mode),
               channel::containment_name(servers.front().containment));
  return {200, {{"server", server}, {"containment", channel::containment_name(mode)}}};
}

vmsrs_status Service::run_check(steady_clock::time_point deadline, vmsrs_check_report& report) {
  vmsrs_status status = channel_.check(true, report);
  while (status == VMSRS_AGAIN && !is_over(deadline)) {
    // The engine's own memory is gone through call by call; only for a server's thread one waits.
    if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING)
      pause_before(deadline);
    status = channel_.check(false, report);
  }
  if (status != VMSRS_AGAIN) return status;
  for (vmsrs_check_result& result : report.results) {
    if (result.verdict != VMSRS_VERDICT_PENDING) continue;
    // What has been found already does not wait for the rest.
    result.verdict = result.violation_count > 0 ? VMSRS_VERDICT_VIOLATED : VMSRS_VERDICT_UNVERIFIED;
  }
  return VMSRS_OK;
}

Answer Service::check(std::optional<std::chrono::milliseconds> timeout) {
  const std::lock_guard lock(check_mutex_);
  const double begin = clock_.steady_time();
  vmsrs_check_report report{};
  const vmsrs_status status =
      run_check(steady_clock::now() + timeout.value_or(check_timeout_.load()), report);
  if (status != VMSRS_OK) return status_answer(status, "checking the invariants");
  ledger_.record(report, clock_.unix_time());

  std::vector<vmsrs_server_info> servers;  // only for names: a check without them is one, too
  (void)channel::read_servers(channel_, servers);
  if (on_check_) on_check_(report, servers);
  Json body = last_check_document(ledger_.last());
  body["seconds"] = clock_.steady_time() - begin;
  body["checks"] = checks_document(report, servers);
  return {200, std::move(body)};
}

Answer Service::exits() {
  vmsrs_stats stats;
  if (const vmsrs_status status = channel_.stats(stats); status != VMSRS_OK) {
    return status_answer(status, "reading the counters");
  }
  std::vector<vmsrs_exits> cpus;
  if (const vmsrs_status status = channel::read_exits(channel_, cpus); status != VMSRS_OK) {
    return status_answer(status, "reading the exits");
  }
  const Json host = host_document(stats);
  return {200,
          {{"uptime_seconds", host["uptime_seconds"]},
           {"cycles_per_second", host["cycles_per_second"]},
           {"cpus", exits_document(cpus)}}};
}

Answer Service::log(std::uint64_t since) {
  std::vector<vmsrs_log_line> lines;
  std::uint64_t next = 0;
  if (const vmsrs_status status = channel::read_log(channel_, since, lines, next);
      status != VMSRS_OK) {
    return status_answer(status, "reading the hypervisor's log");
  }
  const std::uint64_t first = lines.empty() ? next : lines.front().sequence;
  return {200,
          {{"lines", log_document(lines)},
           {"lost", since != 0 && first > since ? first - since : 0},
           {"next", next}}};
}

Answer Service::memory() {
  std::vector<vmsrs_memory_range> ranges;
  if (const vmsrs_status status = channel_.memory(ranges); status != VMSRS_OK) {
    return status_answer(status, "reading the hypervisor's memory map");
  }
  return {200, {{"ranges", memory_document(ranges)}}};
}

Answer Service::announce_reset(bool wanted) {
  const vmsrs_status status = channel_.announce_reset(wanted);
  if (status == VMSRS_NOT_FOUND)
    return error_answer(409, "wrong_state", "there is no hypervisor here that could be reset",
                        "resets need not be announced on this platform");
  if (status != VMSRS_OK) return status_answer(status, "announcing a reset");
  spdlog::warn(wanted ? "the next reset of the machine is wanted"
                      : "the announcement of a reset is taken back");
  return {200, {{"wanted", wanted}}};
}

Answer Service::version() {
  channel::Version version;
  if (const vmsrs_status status = channel_.version(version); status != VMSRS_OK) {
    return status_answer(status, "asking for the version");
  }
  return {200,
          {{"daemon", daemon::kVersion},
           {"abi", channel::dotted_version(version.abi)},
           {"isolation", channel::isolation_name(version.isolation)}}};
}

Answer Service::stats() {
  vmsrs_stats stats;
  if (const vmsrs_status status = channel_.stats(stats); status != VMSRS_OK) {
    return status_answer(status, "reading the counters");
  }
  Answer list = servers();
  if (list.http_status != 200) return list;
  Answer cpus = exits();
  if (cpus.http_status != 200) return cpus;
  Json body = {{"host", host_document(stats)}};
  body["servers"] = std::move(list.body["servers"]);
  body["exits"] = std::move(cpus.body["cpus"]);
  return {200, std::move(body)};
}

}  // namespace vmsrs::api
