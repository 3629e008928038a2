// SPDX-License-Identifier: Apache-2.0
#include "channel/lists.hpp"

#include <array>

namespace vmsrs::channel {
namespace {

constexpr std::uint32_t kMostCpus = 4096;
// The hypervisor may put fewer records into an answer than fit; users that come and go between two
// answers add some. More answers than this are no list.
constexpr std::size_t kMostUserPages = 4 * (VMSRS_MAX_USERS + VMSRS_RECENT_USERS);
constexpr std::size_t kUsersInPage = 64;
constexpr std::size_t kLinesInPage = 16;
constexpr std::size_t kEventsInPage = 16;
constexpr std::size_t kMostLogPages = 256;  // many times what the hypervisor keeps

}  // namespace

vmsrs_status read_servers(Channel& channel, std::vector<vmsrs_server_info>& servers) {
  for (std::uint32_t index = 0; index < VMSRS_MAX_SERVERS; ++index) {
    vmsrs_server_info info;
    const vmsrs_status status = channel.server(index, info);
    if (status == VMSRS_NOT_FOUND) break;
    if (status != VMSRS_OK) return status;
    servers.push_back(info);
  }
  return VMSRS_OK;
}

vmsrs_status read_works(Channel& channel, std::size_t servers,
                        std::vector<vmsrs_server_work>& works) {
  for (std::uint32_t index = 0; index < servers; ++index) {
    vmsrs_server_work work;
    const vmsrs_status status = channel.work(index, work);
    if (status == VMSRS_UNKNOWN_CALL) break;
    if (status != VMSRS_OK) return status;
    works.push_back(work);
  }
  return VMSRS_OK;
}

vmsrs_status read_users(Channel& channel, std::uint32_t server,
                        std::vector<vmsrs_user_info>& users) {
  std::array<vmsrs_user_info, kUsersInPage> records;
  std::uint64_t cursor = 0;
  for (std::size_t pages = 0; pages < kMostUserPages; ++pages) {
    ListPage page;
    const vmsrs_status status = channel.users(server, cursor, records, page);
    if (status != VMSRS_OK) return status;
    users.insert(users.end(), records.begin(),
                 records.begin() + static_cast<std::ptrdiff_t>(page.count));
    if (page.next_cursor == 0) return VMSRS_OK;
    cursor = page.next_cursor;
  }
  return VMSRS_OK;
}

vmsrs_status read_regions(Channel& channel, std::uint32_t server,
                          std::vector<vmsrs_region_info>& regions) {
  std::array<vmsrs_region_info, VMSRS_MAX_REGIONS> records;
  std::uint64_t cursor = 0;
  for (std::size_t pages = 0; pages < VMSRS_MAX_REGIONS; ++pages) {
    ListPage page;
    const vmsrs_status status = channel.regions(server, cursor, records, page);
    if (status != VMSRS_OK) return status;
    regions.insert(regions.end(), records.begin(),
                   records.begin() + static_cast<std::ptrdiff_t>(page.count));
    if (page.next_cursor == 0) return VMSRS_OK;
    cursor = page.next_cursor;
  }
  return VMSRS_OK;
}

vmsrs_status read_exits(Channel& channel, std::vector<vmsrs_exits>& exits) {
  for (std::uint32_t cpu = 0; cpu < kMostCpus; ++cpu) {
    vmsrs_exits one;
    const vmsrs_status status = channel.exits(cpu, one);
    if (status == VMSRS_NOT_FOUND) break;
    if (status != VMSRS_OK) return status;
    exits.push_back(one);
  }
  return VMSRS_OK;
}

vmsrs_status read_log(Channel& channel, std::uint64_t cursor, std::vector<vmsrs_log_line>& lines,
                      std::uint64_t& next) {
  std::array<vmsrs_log_line, kLinesInPage> page_lines;
  next = cursor;
  for (std::size_t pages = 0; pages < kMostLogPages; ++pages) {
    LogPage page;
    const vmsrs_status status = channel.log(next, page_lines, page);
    if (status != VMSRS_OK) return status;
    if (page.count == 0) break;
    lines.insert(lines.end(), page_lines.begin(),
                 page_lines.begin() + static_cast<std::ptrdiff_t>(page.count));
    next = page.next_cursor;
  }
  return VMSRS_OK;
}

vmsrs_status read_events(Channel& channel, std::uint64_t cursor, std::vector<vmsrs_event>& events,
                         std::uint64_t& next) {
  std::array<vmsrs_event, kEventsInPage> page_events;
  next = cursor;
  for (std::size_t pages = 0; pages < VMSRS_EVENTS_KEPT; ++pages) {
    LogPage page;
    const vmsrs_status status = channel.events(next, page_events, page);
    if (status != VMSRS_OK) return status;
    if (page.count == 0) break;
    events.insert(events.end(), page_events.begin(),
                  page_events.begin() + static_cast<std::ptrdiff_t>(page.count));
    next = page.next_cursor;
    if (events.size() >= VMSRS_EVENTS_KEPT) break;
  }
  return VMSRS_OK;
}

vmsrs_status read_guest_ends(Channel& channel, std::uint64_t cursor,
                             std::vector<vmsrs_guest_end>& ends, std::uint64_t& next) {
  std::array<vmsrs_guest_end, VMSRS_GUEST_ENDS_KEPT> page_ends;
  next = cursor;
  for (std::size_t pages = 0; pages <= page_ends.size(); ++pages) {
    LogPage page;
    const vmsrs_status status = channel.guest_ends(next, page_ends, page);
    if (status != VMSRS_OK) return status;
    if (page.count == 0) break;
    ends.insert(ends.end(), page_ends.begin(),
                page_ends.begin() + static_cast<std::ptrdiff_t>(page.count));
    next = page.next_cursor;
  }
  return VMSRS_OK;
}

}  // namespace vmsrs::channel
