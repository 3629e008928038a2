// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <stdexcept>
#include <vector>

#include "support/machine.hpp"

// What management sees of regions and records, whole.
namespace vmsrs::test {

inline std::vector<vmsrs_region_info> list_regions(Client& manager, std::uint64_t token,
                                                   std::uint64_t server, std::size_t room = 16) {
  std::vector<vmsrs_region_info> all, page(room);
  std::uint64_t cursor = 0;
  do {
    const Result result = manager.call(VMSRS_CALL_MGMT_REGIONS, token, server, cursor,
                                       address_of(page.data()), room * sizeof page[0]);
    if (result.status != VMSRS_OK) throw std::runtime_error("MGMT_REGIONS");
    all.insert(all.end(), page.begin(), page.begin() + static_cast<std::ptrdiff_t>(result.rdx));
    cursor = result.rsi;
  } while (cursor != 0);
  return all;
}

inline std::vector<vmsrs_record_info> list_records(Client& manager, std::uint64_t token,
                                                   std::uint64_t server,
                                                   std::uint64_t region = VMSRS_EVERY_REGION,
                                                   std::size_t room = 16) {
  std::vector<vmsrs_record_info> all, page(room);
  std::uint64_t cursor = 0;
  do {
    const Result result = manager.call(VMSRS_CALL_MGMT_RECORDS, token, server, region, cursor,
                                       address_of(page.data()), room * sizeof page[0]);
    if (result.status != VMSRS_OK) throw std::runtime_error("MGMT_RECORDS");
    all.insert(all.end(), page.begin(), page.begin() + static_cast<std::ptrdiff_t>(result.rdx));
    cursor = result.rsi;
  } while (cursor != 0);
  return all;
}

inline Result ask_for_map(Client& manager, std::uint64_t token, std::uint64_t server,
                          std::uint64_t region, bool anew, vmsrs_region_map& map) {
  return manager.call(VMSRS_CALL_MGMT_REGION_MAP, token, server, region, address_of(&map),
                      sizeof map, anew ? 1 : 0);
}

// A new look, which the servers' threads carry out in serve().
inline vmsrs_region_map map_of(Client& manager, std::uint64_t token, std::uint64_t server,
                               std::uint64_t region, const std::function<void()>& serve) {
  vmsrs_region_map map{};
  Result result = ask_for_map(manager, token, server, region, true, map);
  for (unsigned i = 0; result.status == VMSRS_AGAIN && i < 1000; ++i) {
    serve();
    result = ask_for_map(manager, token, server, region, false, map);
  }
  if (result.status != VMSRS_OK) throw std::runtime_error("MGMT_REGION_MAP");
  return map;
}

}  // namespace vmsrs::test
