// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/hosted.h>

#include <cstddef>
#include <cstdint>

// A client's end of the hosted platform: the connection, and questions over its socket. It knows
// only the ABI, so the guest library and the daemon both use it.
namespace vmsrs::hosted {

// All that a client must know of its connection. Written once by open_link; its owner may make the
// page that it lies in read-only.
struct Link {
  int socket;
  int doorbell;  // eventfd: wakes the other side
  // A pipe that holds one byte, the lock for the socket: no word in memory that could be damaged.
  int turn, turn_back;
  std::uint32_t lane_count;
  vmsrs_area_head* head;  // the call area as this process has mapped it
  vmsrs_lane* lanes;
  std::byte* payloads;
  std::uint64_t area_bytes;

  std::byte* payload(std::uint32_t lane) const {
    return payloads + std::size_t{lane} * VMSRS_LANE_PAYLOAD_BYTES;
  }
};

// Connects and maps a call area of up to `lanes` lanes. False: `problem` holds one line that names
// the path and says why.
[[nodiscard]] bool open_link(Link& link, const char* path, std::uint32_t lanes, char* problem,
                             std::size_t problem_bytes);
void close_link(Link& link);

// The socket's path: VMSRS_HOSTED_SOCKET of the environment, else the default.
const char* default_socket_path();

// Sends the question and waits for its answer, one thread at a time. `descriptor` receives one that
// came along, or -1. Anything but VMSRS_OK of the answer is returned as it is; VMSRS_NOT_ATTACHED
// also means that the connection is gone. Async-signal-safe: signals are blocked meanwhile.
vmsrs_status ask(const Link& link, vmsrs_hosted_message& message, int* descriptor = nullptr);

// Is the process at the other end still there?
bool link_is_up(const Link& link);

}  // namespace vmsrs::hosted
