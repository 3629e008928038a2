// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

namespace vmsrs::daemon {

// Times in seconds; tests put fixed ones here.
struct Clock {
  std::function<double()> unix_time = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  std::function<double()> steady_time = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
};

}  // namespace vmsrs::daemon
