// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "channel/channel.hpp"

namespace vmsrs::daemon {

// Asks once a second for the next second's worth of every server's regions to be scrubbed. A server
// that has not come to the end of the last one is not asked for more than one. Used by one thread.
class Scrubber {
 public:
  static constexpr std::uint32_t kIntervalMs = 1000;

  Scrubber(channel::Channel& channel, std::uint64_t bytes_per_second)
      : channel_(&channel), bytes_per_second_(bytes_per_second) {}

  void pass();

 private:
  channel::Channel* channel_;
  std::uint64_t bytes_per_second_;
  std::optional<std::uint64_t> restored_;  // granules, as told at the last pass
};

}  // namespace vmsrs::daemon
