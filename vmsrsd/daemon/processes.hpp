// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vmsrs::daemon {

// What /proc tells of processes; `root` is another folder in tests.
class Processes {
 public:
  explicit Processes(std::string root = "/proc") : root_(std::move(root)) {}

  // False where other processes cannot be seen (not mounted, hidden): then nobody is to be called
  // dead.
  [[nodiscard]] bool visible() const;
  // When the process started, in ticks since boot; nothing if it is gone or only a zombie is left.
  // A main thread that has ended while others go on does not make it dead.
  [[nodiscard]] std::optional<std::uint64_t> start_time(std::uint32_t process_id) const;

 private:
  std::string root_;
};

}  // namespace vmsrs::daemon
