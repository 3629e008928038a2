// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>

#include "recovery/guest_memory.hpp"

namespace vmsrs::recovery {

// What an operation of the engine answers: a status, and the results that go into RDX and RSI.
struct [[nodiscard]] Reply {
  vmsrs_status status = VMSRS_OK;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  unsigned result_count = 0;  // 0: RDX and RSI keep their values

  constexpr Reply() = default;
  constexpr Reply(vmsrs_status s) : status(s) {}
  constexpr Reply(vmsrs_status s, std::uint64_t a) : status(s), first(a), result_count(1) {}
  constexpr Reply(vmsrs_status s, std::uint64_t a, std::uint64_t b)
      : status(s), first(a), second(b), result_count(2) {}
  bool ok() const { return status == VMSRS_OK; }
};

// The status for guest memory that could not be reached; RDX names the address to touch.
constexpr Reply reply_for(const MemoryOutcome& outcome) {
  if (outcome.result == MemoryResult::kTouch) return {VMSRS_TOUCH, value(outcome.where)};
  return outcome.result == MemoryResult::kOk ? VMSRS_OK : VMSRS_BAD_ADDRESS;
}

}  // namespace vmsrs::recovery
