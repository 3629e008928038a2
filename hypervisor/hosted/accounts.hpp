// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>

namespace vmsrs::hosted {

struct Limits {
  std::uint32_t connections;
  std::uint32_t connections_per_account;
  std::uint64_t memory_per_account;
};

// Who has how much. What one account takes is never taken from another one's share. Any thread.
class Accounts {
 public:
  explicit Accounts(const Limits& limits) : limits_(limits) {}

  [[nodiscard]] bool take_connection(uid_t account);
  void give_connection(uid_t account);
  [[nodiscard]] bool take_memory(uid_t account, std::uint64_t bytes);
  void give_memory(uid_t account, std::uint64_t bytes);

 private:
  struct Share {
    std::uint32_t connections = 0;
    std::uint64_t memory = 0;
  };
  void forget_if_empty(uid_t account);

  const Limits limits_;
  std::mutex lock_;
  std::uint32_t connections_ = 0;
  std::map<uid_t, Share> shares_;
};

}  // namespace vmsrs::hosted
