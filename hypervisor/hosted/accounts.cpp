// SPDX-License-Identifier: Apache-2.0
#include "hosted/accounts.hpp"

namespace vmsrs::hosted {

bool Accounts::take_connection(uid_t account) {
  const std::scoped_lock lock(lock_);
  if (connections_ >= limits_.connections) return false;
  Share& share = shares_[account];
  if (share.connections >= limits_.connections_per_account) return false;
  ++share.connections;
  ++connections_;
  return true;
}

void Accounts::give_connection(uid_t account) {
  const std::scoped_lock lock(lock_);
  --shares_[account].connections;
  --connections_;
  forget_if_empty(account);
}

bool Accounts::take_memory(uid_t account, std::uint64_t bytes) {
  const std::scoped_lock lock(lock_);
  Share& share = shares_[account];
  if (bytes > limits_.memory_per_account || share.memory > limits_.memory_per_account - bytes)
    return false;
  share.memory += bytes;
  return true;
}

void Accounts::give_memory(uid_t account, std::uint64_t bytes) {
  const std::scoped_lock lock(lock_);
  shares_[account].memory -= bytes;
  forget_if_empty(account);
}

void Accounts::forget_if_empty(uid_t account) {
  const auto share = shares_.find(account);
  if (share->second.connections == 0 && share->second.memory == 0) shares_.erase(share);
}

}  // namespace vmsrs::hosted
