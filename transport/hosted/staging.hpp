// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hosted/lane_call.hpp"

namespace vmsrs::hosted {

// What a call passes by address, and how it crosses: the engine's process reaches no private memory
// of a client, so a copy in the lane's payload stands for it.
struct Buffer {
  enum class Kind { kNone, kIn, kOut } kind = Kind::kNone;
  std::uint64_t Registers::*pointer = nullptr;
  std::uint64_t bytes = 0;        // of the caller's memory
  std::uint64_t answer_unit = 0;  // kOut: RDX counts units of so many bytes
};
Buffer buffer_of(const Registers& registers);

}  // namespace vmsrs::hosted
