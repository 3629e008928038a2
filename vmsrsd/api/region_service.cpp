// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "api/documents.hpp"
#include "api/service.hpp"
#include "channel/lists.hpp"
#include "channel/names.hpp"

// What the API shows of regions and records.
namespace vmsrs::api {
namespace {

using std::chrono::steady_clock;

// Records are looked for all over the recovery storage, a piece a call. A request ends after so
// many of them, with what was found and where to go on.
constexpr std::size_t kMostPagesOfRecords = 4096;
constexpr std::size_t kRecordsInPage = 16;

// Only a thread of the server can look at claims.
bool waits_for_thread(const vmsrs_region_info& info) {
  return (info.flags & VMSRS_REGION_CLAIMS) != 0 && info.process_count > 0;
}

}  // namespace

Answer Service::regions_of(const std::string& server) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(server, error);
  if (error) return *error;
  std::vector<vmsrs_region_info> regions;
  if (const vmsrs_status status = channel::read_regions(channel_, servers.front().server, regions);
      status != VMSRS_OK)
    return status_answer(status, "reading the regions of " + server);
  Json list = Json::array();
  for (const vmsrs_region_info& info : regions) list.push_back(region_document(info));
  return {200, {{"server", server}, {"regions", std::move(list)}}};
}

Answer Service::region(const std::string& server, std::uint32_t number,
                       std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(server, error);
  if (error) return *error;
  const std::uint32_t index = servers.front().server;
  const std::string what = "region " + std::to_string(number) + " of " + server;
  std::vector<vmsrs_region_info> regions;
  if (const vmsrs_status status = channel::read_regions(channel_, index, regions);
      status != VMSRS_OK)
    return status_answer(status, "reading the regions of " + server);
  const auto found =
      std::find_if(regions.begin(), regions.end(),
                   [&](const vmsrs_region_info& info) { return info.region == number; });
  if (found == regions.end())
    return error_answer(404, "not_found", server + " has no region " + std::to_string(number),
                        "look at the list of its regions: it may be gone by now");
  vmsrs_region_map map;
  vmsrs_status status = channel_.region_map(index, number, true, map);
  while (status == VMSRS_AGAIN && !is_over(deadline)) {
    if (waits_for_thread(*found)) pause_before(deadline);
    status = channel_.region_map(index, number, false, map);
  }
  if (status != VMSRS_OK && status != VMSRS_AGAIN)
    return status_answer(status, "reading the map of " + what);
  Json document = region_document(*found);
  document["map"] = map_document(map, status == VMSRS_OK);
  return {200, std::move(document)};
}

Answer Service::records(const RecordsRequest& request) {
  std::optional<Answer> error;
  const std::vector<vmsrs_server_info> servers = servers_called(request.server, error);
  if (error) return *error;
  const std::uint64_t region = request.region ? *request.region : channel::kEveryRegion;
  Json list = Json::array();
  std::uint64_t cursor = request.cursor;
  for (std::size_t pages = 0; pages < kMostPagesOfRecords; ++pages) {
    std::array<vmsrs_record_info, kRecordsInPage> records;
    channel::ListPage page;
    const std::size_t room = std::min(kRecordsInPage, request.limit - list.size());
    const vmsrs_status status = channel_.records(servers.front().server, region, cursor,
                                                 std::span(records).first(room), page);
    if (status != VMSRS_OK)
      return status_answer(status, "reading the records of " + request.server);
    for (std::size_t i = 0; i < page.count; ++i)
      if (!request.slot || records[i].slot == *request.slot)
        list.push_back(record_document(records[i], request.values));
    cursor = page.next_cursor;
    if (cursor == 0 || list.size() == request.limit) break;
  }
  return {200,
          {{"server", request.server},
           {"records", std::move(list)},
           {"next", cursor == 0 ? Json(nullptr) : Json(cursor)}}};
}

}  // namespace vmsrs::api
