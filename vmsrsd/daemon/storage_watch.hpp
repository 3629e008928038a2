// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "channel/channel.hpp"

namespace vmsrs::daemon {

// Writes to the log when stores of a server go on without recovery data, so that it is known when
// that began and how long it lasted. Used by one thread.
class StorageWatch {
 public:
  explicit StorageWatch(channel::Channel& channel) : channel_(channel) {}

  // Looks at every server once.
  void pass();

 private:
  channel::Channel& channel_;
  std::map<std::uint32_t, std::uint64_t> told_;  // unprotected stores, by server
};

}  // namespace vmsrs::daemon
