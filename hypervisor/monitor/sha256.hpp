// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmsrs::monitor {

constexpr std::size_t kSha256Bytes = 32;

// FIPS 180-4. Any length, any alignment.
void sha256(const void* message, std::size_t bytes, std::uint8_t (&digest)[kSha256Bytes]);

}  // namespace vmsrs::monitor
