// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

// The reference: what recovery means, so simple that it can be checked by reading. Point 1 of the
// contract: a byte is worth the last write by a user who is not crashed, else its initial value.
// Point 7: a wild store shows until somebody writes over it or restores it; a sweep restores it
// wherever nobody who is still unfinished has written to its granule. Committed: the last write by
// a user who has finished. In an eager region nothing waits to be restored, and a crashed user owns
// nothing.
namespace vmsrs::test {

enum class Fate { kActive, kFinished, kCrashed, kCollected };

class Model {
 public:
  using UserId = std::size_t;

  Model(std::vector<std::uint8_t> initial, std::size_t granule, bool eager = false)
      : initial_(std::move(initial)),
        writes_(initial_.size()),
        wild_(initial_.size()),
        granule_(granule),
        eager_(eager) {}
  bool eager() const { return eager_; }

  UserId begin() {
    fates_.push_back(Fate::kActive);
    return fates_.size() - 1;
  }
  void finish(UserId user) { fates_[user] = Fate::kFinished; }
  void crash(UserId user) { fates_[user] = Fate::kCrashed; }
  void collect(UserId user) { fates_[user] = Fate::kCollected; }
  void store(UserId user, std::size_t at, std::uint8_t value) {
    writes_[at].push_back({user, value});
    wild_[at].reset();
  }
  void store_wildly(std::size_t at, std::uint8_t value) { wild_[at] = value; }
  void sweep() {
    for (std::size_t first = 0; first < size(); first += granule_)
      if (!owned(first))
        for (std::size_t at = first; at < first + granule_; ++at) wild_[at].reset();
  }

  std::uint8_t value(std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (fates_[write->user] == Fate::kActive || fates_[write->user] == Fate::kFinished)
        return write->value;
    return initial_[at];
  }
  std::uint8_t committed(std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (fates_[write->user] == Fate::kFinished) return write->value;
    return initial_[at];
  }
  // Whose the byte is, if that user has not finished.
  std::optional<UserId> unfinished_writer(std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (fates_[write->user] == Fate::kActive)
        return write->user;
      else if (fates_[write->user] == Fate::kFinished)
        return {};
    return {};
  }
  // What the user's end would commit there: its last write, unless somebody has finished who wrote
  // later.
  std::optional<std::uint8_t> pending(UserId user, std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (write->user == user)
        return write->value;
      else if (fates_[write->user] == Fate::kFinished)
        return {};
    return {};
  }
  // How many unfinished users have something pending in a granule: surely those who are active,
  // perhaps those who have crashed, for what they wrote may have been restored.
  struct Owners {
    std::size_t active = 0, crashed = 0;
  };
  Owners owners(std::size_t granule) const {
    Owners owners;
    for (UserId user = 0; user < fates_.size(); ++user) {
      if (fates_[user] != Fate::kActive && fates_[user] != Fate::kCrashed) continue;
      bool any = false;
      for (std::size_t at = granule * granule_; at < (granule + 1) * granule_; ++at)
        any = any || pending(user, at);
      owners.active += any && fates_[user] == Fate::kActive;
      owners.crashed += any && fates_[user] == Fate::kCrashed;
    }
    return owners;
  }
  std::size_t granule_bytes() const { return granule_; }
  bool has_crashed(UserId user) const {
    return fates_[user] == Fate::kCrashed || fates_[user] == Fate::kCollected;
  }
  // May a normal user read this? A wild byte may have been restored early, with its granule.
  bool readable(std::size_t at, std::uint8_t byte) const {
    return byte == value(at) || wild_[at] == byte;
  }
  // May memory hold this? Anything, where a crashed user is still to be restored.
  bool holds(std::size_t at, std::uint8_t byte) const {
    return readable(at, byte) || (!eager_ && waits(at));
  }
  bool anything_wild() const {
    for (const auto& byte : wild_)
      if (byte) return true;
    return false;
  }
  std::size_t size() const { return initial_.size(); }

 private:
  struct Write {
    UserId user;
    std::uint8_t value;
  };
  bool waits(std::size_t at) const {
    for (auto write = writes_[at].rbegin(); write != writes_[at].rend(); ++write)
      if (fates_[write->user] != Fate::kCollected) return fates_[write->user] == Fate::kCrashed;
    return false;
  }
  bool owned(std::size_t first) const {
    for (std::size_t at = first; at < first + granule_; ++at)
      for (const Write& write : writes_[at])
        if (fates_[write.user] == Fate::kActive ||
            (!eager_ && fates_[write.user] == Fate::kCrashed))
          return true;
    return false;
  }

  std::vector<std::uint8_t> initial_;
  std::vector<std::vector<Write>> writes_;         // of each byte, in order
  std::vector<std::optional<std::uint8_t>> wild_;  // what was stored behind the library's back
  std::vector<Fate> fates_;
  std::size_t granule_;
  bool eager_;
};

}  // namespace vmsrs::test
