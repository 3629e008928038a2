// SPDX-License-Identifier: Apache-2.0
#include "hosted/region_memory.hpp"

#include <utility>

namespace vmsrs::hosted {

std::shared_ptr<const RegionMemory> RegionMemory::create(Accounts& accounts, uid_t account,
                                                         std::uint64_t bytes) {
  if (!accounts.take_memory(account, bytes)) return nullptr;
  SharedMemory fresh = SharedMemory::create("vmsrs-region", bytes, ClientMay::kWrite);
  if (fresh.valid())
    return std::shared_ptr<const RegionMemory>(
        new RegionMemory(accounts, account, std::move(fresh)));
  accounts.give_memory(account, bytes);
  return nullptr;
}

RegionMemory::~RegionMemory() { accounts_.give_memory(account_, memory_.bytes()); }

void RegionPlaces::note(std::uint32_t server, std::uint64_t region, vmsrs_hosted_part part,
                        const Place& place) {
  const std::scoped_lock lock(lock_);
  known_[{server, region, part}] = {place.memory, place.offset};
}

RegionPlaces::Place RegionPlaces::find(std::uint32_t server, std::uint64_t region,
                                       vmsrs_hosted_part part) {
  const std::scoped_lock lock(lock_);
  const auto known = known_.find({server, region, part});
  if (known == known_.end()) return {};
  return {known->second.memory.lock(), known->second.offset};
}

}  // namespace vmsrs::hosted
