// SPDX-License-Identifier: Apache-2.0
#include "allocations.hpp"

namespace vmsrs::study {

void Allocations::allocated(std::uint64_t address, std::uint64_t bytes, const Site& site) {
  const auto entry = sites_.try_emplace(site).first;
  ++entry->second.blocks;
  entry->second.bytes += bytes;
  entry->second.live_bytes += bytes;
  blocks_[address] = Block{bytes, entry};
}

void Allocations::count(Block& block, const Use& use) {
  Use& sum = block.site->second.use;
  sum.loads += use.loads;
  sum.stores += use.stores;
  sum.sharing.touched += use.sharing.touched;
  sum.sharing.shared += use.sharing.shared;
  sum.sharing.shared_and_written += use.sharing.shared_and_written;
  sum.sharing.written_by_several += use.sharing.written_by_several;
  sum.sharing.passed += use.sharing.passed;
}

std::uint64_t Allocations::freed(std::uint64_t address, Granules& granules) {
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) return 0;
  const std::uint64_t bytes = found->second.bytes;
  count(found->second, granules.take(address, bytes));
  found->second.site->second.live_bytes -= bytes;
  blocks_.erase(found);
  return bytes;
}

void Allocations::close(Granules& granules) {
  for (auto& [address, block] : blocks_) count(block, granules.take(address, block.bytes));
  blocks_.clear();
}

const Allocations::Block* Allocations::block_of(std::uint64_t address) const {
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return nullptr;
  --after;
  return address - after->first < after->second.bytes ? &after->second : nullptr;
}

}  // namespace vmsrs::study
