// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// The reference: what recovery means, so simple that it can be checked by reading. Point 1 of the
// contract: a byte is worth the last write by a user who is not crashed, else its initial value.
namespace vmsrs::test {

enum class Fate { kActive, kFinished, kCrashed };

class Model {
 public:
  using UserId = std::size_t;

  explicit Model(std::vector<std::uint8_t> initial)
      : initial_(std::move(initial)), writes_(initial_.size()) {}

  UserId begin() {
    fates_.push_back(Fate::kActive);
    return fates_.size() - 1;
  }
  void finish(UserId user) { fates_[user] = Fate::kFinished; }
  void crash(UserId user) { fates_[user] = Fate::kCrashed; }
  void store(UserId user, std::size_t at, std::uint8_t value) {
    writes_[at].push_back({user, value});
  }

  std::uint8_t value(std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (fates_[write->user] != Fate::kCrashed) return write->value;
    return initial_[at];
  }
  // Memory itself must show value(at), unless a crashed user wrote last and may still be waiting
  // for its restoration.
  bool settled(std::size_t at) const {
    return writes_[at].empty() || fates_[writes_[at].back().user] != Fate::kCrashed;
  }
  std::size_t size() const { return initial_.size(); }

 private:
  struct Write {
    UserId user;
    std::uint8_t value;
  };
  std::vector<std::uint8_t> initial_;
  std::vector<std::vector<Write>> writes_;  // of each byte, in order
  std::vector<Fate> fates_;
};

}  // namespace vmsrs::test
