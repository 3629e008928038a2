// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace vmsrs::api {

// What clients of one listener may take; the keys of `api.limits` in vmsrs.yaml.
struct Limits {
  std::uint32_t requests_per_second = 100;  // of one peer, in the long run
  std::uint32_t burst = 200;                // of one peer, at once
  std::uint32_t connections = 256;
  std::uint32_t threads = 8;  // that carry out requests; fixed while the listener lives
  std::uint64_t header_bytes = 16 * 1024;
  std::uint64_t body_bytes = 64 * 1024;
  std::uint32_t receive_timeout_ms = 5000;  // for a whole request, TLS's handshake included
  std::uint32_t send_timeout_ms = 5000;     // for the client to take what waits to be sent
};

}  // namespace vmsrs::api
