// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

namespace vmsrs::recovery {

// In vmsrs_check_result.server: the damage belongs to no server.
constexpr std::uint32_t kNoServer = ~0u;

// Counts a violation; the first one says where.
inline void violated(vmsrs_check_result& result, std::uint32_t server, std::uint64_t detail) {
  if (result.violation_count++ > 0) return;
  result.verdict = VMSRS_VERDICT_VIOLATED;
  result.server = server;
  result.detail = detail;
}

// Nothing is wrong, but `stores` of a server went on without recovery data. A violation says more.
inline void unprotected(vmsrs_check_result& result, std::uint32_t server, std::uint64_t stores) {
  if (result.verdict != VMSRS_VERDICT_OK) return;
  result.verdict = VMSRS_VERDICT_UNPROTECTED;
  result.server = server;
  result.detail = stores;
}

}  // namespace vmsrs::recovery
