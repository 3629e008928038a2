// SPDX-License-Identifier: Apache-2.0
#include "page/page.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ops_common/json_text.hpp>

#include "api/documents.hpp"
#include "channel/lists.hpp"
#include "channel/names.hpp"

// The files as they are in this folder (files.S).
extern "C" {
extern const char vmsrs_page_html[], vmsrs_page_html_end[];
extern const char vmsrs_page_script[], vmsrs_page_script_end[];
extern const char vmsrs_page_style[], vmsrs_page_style_end[];
}

namespace vmsrs::page {
namespace {

using Json = api::Json;

constexpr std::size_t kMostUsers = 50;
constexpr std::size_t kMostMaps = 32;
// How often regions are looked at for the page, however many look at that.
constexpr std::uint64_t kMapNs = 10'000'000'000;
constexpr std::uint64_t kMapShare = 20;  // and of the time a twentieth at most

Json users_of(channel::Channel& channel, const std::vector<vmsrs_server_info>& servers) {
  std::vector<Json> list;
  for (const vmsrs_server_info& server : servers) {
    if (server.crashed_users == 0) continue;
    std::vector<vmsrs_user_info> users;
    if (read_users(channel, server.server, users) != VMSRS_OK) break;
    for (const vmsrs_user_info& user : users) {
      if (user.state != VMSRS_USER_CRASHED && user.state != VMSRS_USER_STUCK) continue;
      list.push_back({{"server", channel::server_name(server)},
                      {"slot", user.slot},
                      {"state", channel::user_state_name(user.state)},
                      {"kind", channel::fault_kind_name(user.fault.kind)},
                      {"suppressed_seconds", static_cast<double>(user.suppressed_ns) / 1e9},
                      {"records", user.record_count}});
    }
  }
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a.at("suppressed_seconds") > b.at("suppressed_seconds");
  });
  if (list.size() > kMostUsers) list.resize(kMostUsers);
  return list;
}

Json history_of(const History& history) {
  Json faults = Json::array(), restores = Json::array(), suppressed = Json::array();
  for (const History::Step& step : history.steps()) {
    faults.push_back(step.faults);
    restores.push_back(step.restores);
    suppressed.push_back(step.suppressed_users);
  }
  return {{"step_seconds", History::kStepMs / 1000},
          {"steps", History::kSteps},
          {"faults", std::move(faults)},
          {"restores", std::move(restores)},
          {"suppressed_users", std::move(suppressed)}};
}

Json servers_of(const std::vector<vmsrs_server_info>& servers) {
  Json list = Json::array();
  for (const vmsrs_server_info& info : servers)
    list.push_back({{"name", channel::server_name(info)},
                    {"attached", info.attached != 0},
                    {"active_users", info.active_users},
                    {"suppressed_users", info.crashed_users},
                    {"stuck_users", info.stuck_users},
                    {"regions", info.region_count},
                    {"region_bytes", info.region_bytes},
                    {"kept_region_bytes", info.kept_bytes},
                    {"contended_granules", info.contended_granules},
                    {"restores", info.demand_restore_count + info.crash_restore_count +
                                     info.collect_restore_count + info.sweep_restore_count},
                    {"unprotected_stores", info.unprotected_store_count}});
  return list;
}

Json map_of(const vmsrs_server_info& server, const vmsrs_region_info& region,
            const vmsrs_region_map& map) {
  Json owned = Json::array(), contended = Json::array(), restored = Json::array();
  for (std::uint32_t i = 0; i < map.bucket_count && i < VMSRS_MAP_BUCKETS; ++i) {
    owned.push_back(map.buckets[i].owned);
    contended.push_back(map.buckets[i].contended);
    restored.push_back(map.buckets[i].restored);
  }
  return {{"server", channel::server_name(server)},
          {"region", region.region},
          {"name", channel::region_name(region)},
          {"state", channel::region_state_name(region.state)},
          {"bytes", region.bytes},
          {"bucket_bytes", map.bucket_granules * region.granule_bytes},
          {"age_seconds",
           map.is_taken != 0 ? Json(static_cast<double>(map.age_ns) / 1e9) : Json(nullptr)},
          {"hidden_only", (map.flags & VMSRS_MAP_HIDDEN_ONLY) != 0},
          {"owned", std::move(owned)},
          {"contended", std::move(contended)},
          {"restored", std::move(restored)}};
}

// Waits for nobody: a look that is asked for here is shown when the page is asked for again.
Json maps_of(channel::Channel& channel, const std::vector<vmsrs_server_info>& servers) {
  Json list = Json::array();
  for (const vmsrs_server_info& server : servers) {
    std::vector<vmsrs_region_info> regions;
    if (read_regions(channel, server.server, regions) != VMSRS_OK) break;
    for (const vmsrs_region_info& region : regions) {
      if (list.size() == kMostMaps) return list;
      vmsrs_region_map map;
      vmsrs_status status = channel.region_map(server.server, region.region, false, map);
      const bool is_old = map.age_ns >= kMapNs && map.age_ns >= kMapShare * map.duration_ns;
      if (status == VMSRS_WRONG_STATE || (status == VMSRS_OK && is_old))
        status = channel.region_map(server.server, region.region, true, map);
      if (status == VMSRS_OK || status == VMSRS_AGAIN) list.push_back(map_of(server, region, map));
    }
  }
  return list;
}

Json document(channel::Channel& channel, const daemon::CheckLedger& ledger, const History& history,
              const daemon::Clock& clock) {
  vmsrs_stats stats{};
  std::vector<vmsrs_server_info> servers;
  vmsrs_status status = channel.stats(stats);
  if (status == VMSRS_OK) status = read_servers(channel, servers);
  if (status != VMSRS_OK)
    return {{"time", clock.unix_time()}, {"problem", channel::status_name(status)}};
  const auto last = ledger.last();
  return {{"time", clock.unix_time()},
          {"problem", nullptr},
          {"host", api::status_document(stats, servers)},
          {"servers", servers_of(servers)},
          {"users", users_of(channel, servers)},
          {"maps", maps_of(channel, servers)},
          {"last_check", api::last_check_document(last)},
          {"checks", last ? api::checks_document(last->report, servers) : Json::array()},
          {"history", history_of(history)}};
}

// What the browser may load: this server's own files, and nothing in the page's text.
void send(httplib::Response& response, const char* begin, const char* end, const char* type) {
  response.set_header("Content-Security-Policy",
                      "default-src 'none'; script-src 'self'; style-src 'self'; "
                      "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'");
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("Cache-Control", "no-cache");
  response.set_content(begin, static_cast<std::size_t>(end - begin), type);
}

}  // namespace

void install(httplib::Server& server, channel::Channel& channel, const daemon::CheckLedger& ledger,
             const History& history, const daemon::Clock& clock) {
  server.Get("/", [](const httplib::Request&, httplib::Response& response) {
    send(response, vmsrs_page_html, vmsrs_page_html_end, "text/html; charset=utf-8");
  });
  server.Get("/page.js", [](const httplib::Request&, httplib::Response& response) {
    send(response, vmsrs_page_script, vmsrs_page_script_end, "text/javascript; charset=utf-8");
  });
  server.Get("/page.css", [](const httplib::Request&, httplib::Response& response) {
    send(response, vmsrs_page_style, vmsrs_page_style_end, "text/css; charset=utf-8");
  });
  server.Get("/page.json", [&](const httplib::Request&, httplib::Response& response) {
    response.set_header("Cache-Control", "no-store");
    response.set_content(ops::json_text(document(channel, ledger, history, clock)),
                         "application/json");
  });
}

}  // namespace vmsrs::page
