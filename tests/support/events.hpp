// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <vector>

#include "support/machine.hpp"

namespace vmsrs::test {

// All events from number `cursor` on, or all that nobody has acknowledged.
inline std::vector<vmsrs_event> events_from(Client& manager, std::uint64_t token,
                                            std::uint64_t cursor = 0) {
  std::vector<vmsrs_event> all;
  for (;;) {
    vmsrs_event page[16];
    const Result result =
        manager.call(VMSRS_CALL_MGMT_EVENTS, token, cursor, address_of(page), sizeof page);
    if (result.status != VMSRS_OK || result.rdx > 16) throw std::runtime_error("MGMT_EVENTS");
    if (result.rdx == 0) return all;
    all.insert(all.end(), page, page + result.rdx);
    cursor = result.rsi;
  }
}

inline vmsrs_status acknowledge(Client& manager, std::uint64_t token, std::uint64_t sequence) {
  return manager.call(VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, token, sequence).status;
}

// The same, and they are acknowledged.
inline std::vector<vmsrs_event> take_events(Client& manager, std::uint64_t token) {
  std::vector<vmsrs_event> all = events_from(manager, token);
  if (!all.empty() && acknowledge(manager, token, all.back().sequence) != VMSRS_OK)
    throw std::runtime_error("MGMT_ACKNOWLEDGE_EVENTS");
  return all;
}

}  // namespace vmsrs::test
