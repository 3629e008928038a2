// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace vmsrs::guest {

extern std::atomic<std::uint32_t> attach_gate;

}  // namespace vmsrs::guest
