// SPDX-License-Identifier: Apache-2.0
#include "hosted/lanes.hpp"

namespace vmsrs::hosted {

void Lanes::initialise(std::uint32_t count) {
  owners_.assign(count, Owner{});
  in_use_.reserve(count);
}

std::optional<std::uint32_t> Lanes::find(const Owner& owner) const {
  for (const std::uint32_t lane : in_use_) {
    const Owner& other = owners_[lane];
    if (other.thread == owner.thread && other.thread_id == owner.thread_id &&
        other.level == owner.level)
      return lane;
  }
  return std::nullopt;
}

std::uint32_t Lanes::thread_id_of(std::uint64_t thread) const {
  for (const std::uint32_t lane : in_use_)
    if (owners_[lane].thread == thread) return owners_[lane].thread_id;
  return 0;
}

std::optional<std::uint32_t> Lanes::take(const Owner& owner) {
  for (std::uint32_t lane = 0; lane < owners_.size(); ++lane) {
    if (owners_[lane].thread != 0) continue;
    owners_[lane] = owner;
    in_use_.push_back(lane);
    return lane;
  }
  return std::nullopt;
}

void Lanes::give(std::uint64_t thread) {
  std::erase_if(in_use_, [&](std::uint32_t lane) {
    if (owners_[lane].thread != thread) return false;
    owners_[lane] = Owner{};
    return true;
  });
}

}  // namespace vmsrs::hosted
