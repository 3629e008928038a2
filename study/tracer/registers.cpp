// SPDX-License-Identifier: Apache-2.0
#include "registers.hpp"

#include <algorithm>

namespace vmsrs::study {
namespace {

constexpr std::size_t kLongest = 64;  // bytes of a place

// A memory operand in the accesses of its instruction: some are made in several pieces.
struct Extent {
  std::uint64_t address = 0, bytes = 0;
};

Extent extent(std::span<const Access> accesses, bool store) {
  std::uint64_t low = ~0ull, high = 0;
  for (const Access& access : accesses) {
    if (access.store != store) continue;
    low = std::min(low, access.address);
    high = std::max(high, access.address + access.bytes);
  }
  return high == 0 ? Extent{} : Extent{low, high - low};
}

}  // namespace

Decisions Registers::execute(const Instruction& instruction, std::span<const Access> accesses,
                             Shadow& memory) {
  Decisions decisions;
  const Extent loaded = extent(accesses, false), stored = extent(accesses, true);
  for (unsigned i = 0; i < instruction.address_count; ++i)
    for (unsigned byte = 0; byte < 8; ++byte)
      decisions.addresses |= cells_[instruction.addresses[i] + byte];
  if (!instruction.loads && !instruction.stores) decisions.addresses = 0;
  if (instruction.flow == Flow::none) {
    if (instruction.stores)  // call: a return address
      for (std::uint64_t i = 0; i < stored.bytes; ++i) memory.set(stored.address + i, 0);
    return decisions;
  }

  std::array<std::array<Labels, kLongest>, 6> read{};
  Labels all = 0;
  for (unsigned i = 0; i < instruction.source_count; ++i) {
    const Place& place = instruction.sources[i];
    for (std::size_t byte = 0; byte < std::min<std::size_t>(place.bytes, kLongest); ++byte) {
      if (place.memory && byte >= loaded.bytes) break;
      read[i][byte] = place.memory ? memory.at(loaded.address + byte) : cells_[place.cell + byte];
      all |= read[i][byte];
    }
  }
  if (instruction.conditional_branch) {
    decisions.branches = all;
    return decisions;
  }

  const Labels wrong_place = decisions.addresses & kAddressLabels;
  for (unsigned i = 0; i < instruction.target_count; ++i) {
    const Place& place = instruction.targets[i];
    // Longer ones than any register (fxsave, say) have no data that is followed.
    const std::size_t bytes = place.memory ? stored.bytes : place.bytes;
    for (std::size_t byte = 0; byte < bytes + place.cleared; ++byte) {
      Labels labels = all;
      if (byte >= kLongest) {
        labels = 0;
      } else if (instruction.flow == Flow::copy) {
        labels = byte < bytes ? read[0][byte] : 0;
        if (byte >= bytes && instruction.sign_extends && bytes > 0) labels = read[0][bytes - 1];
      } else if (byte >= bytes) {
        labels = 0;
      } else if (instruction.flow == Flow::bytewise && bytes > 1) {
        labels = 0;
        for (unsigned source = 0; source < instruction.source_count; ++source)
          labels |= read[source][byte];
      } else if (instruction.flow == Flow::shuffle) {
        labels = byte < 16 ? read[instruction.picks[byte] / 16][instruction.picks[byte] % 16] : 0;
      }
      if (byte < bytes) labels |= wrong_place;
      if (place.memory) {
        memory.set(stored.address + byte, labels);
      } else {
        Labels& cell = cells_[place.cell + byte];
        cell = place.may_stay && byte < bytes ? cell | labels : labels;
      }
    }
  }
  return decisions;
}

void Registers::forget(Labels labels) {
  for (Labels& cell : cells_) cell &= ~labels;
}

}  // namespace vmsrs::study
