// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint64_t kFillBytes = VMSRS_MAX_RANGE_BYTES;

}  // namespace

Region* Server::region_at(std::uint64_t address, std::uint64_t bytes) {
  for (Region& region : ledger_.regions)
    if (region.contains(address, bytes)) return &region;
  return nullptr;
}

void Server::drop_regions() {
  for (Region& region : ledger_.regions) region.release(*pool_);
  stop_walks();
}

Reply Server::init_profile() {
  if (!close_quiet_users()) return VMSRS_BUSY;
  drop_regions();
  areas_ = 0;
  recent_count_ = 0;
  return VMSRS_OK;
}

Reply Server::profile(std::uint64_t address, std::uint64_t bytes, std::uint32_t granule,
                      std::uint64_t claims, Thread thread) {
  Region region;
  region.granule_shift = static_cast<std::uint8_t>(__builtin_ctz(granule));
  region.address = address;
  region.claims = claims;
  region.bytes = bytes;
  if (region.granule_count() > 0xffffffffull) return VMSRS_BAD_LENGTH;

  Region* free = nullptr;
  for (Region& other : ledger_.regions) {
    if (other.overlaps(address, bytes)) return VMSRS_OVERLAP;
    if (other.state == Region::State::kNone && free == nullptr) free = &other;
  }
  if (free == nullptr) return VMSRS_NO_SLOT;
  if (claims != 0) {
    const std::uint64_t claims_bytes = region.granule_count() * sizeof(vmsrs_claim);
    if (areas_ == 0) return VMSRS_WRONG_STATE;
    if (claims % sizeof(vmsrs_claim) != 0) return VMSRS_UNALIGNED;
    for (const std::uint64_t end : {claims, claims + claims_bytes - 1})
      if (const auto outcome = thread.memory.prepare(GuestVirtual{end}, 1, Access::kWrite);
          !outcome)
        return reply_for(outcome);
  }
  // The ends now, so that a wild address is refused at once; the rest while filling.
  for (const std::uint64_t end : {address, address + bytes - 1})
    if (const auto outcome = thread.memory.prepare(GuestVirtual{end}, 1, Access::kRead); !outcome)
      return reply_for(outcome);
  if (!region.reserve(*pool_, owner_of(index_))) {
    ++counters_.no_storage;
    return VMSRS_NO_STORAGE;
  }
  region.state = Region::State::kFilling;
  *free = region;
  return {VMSRS_OK, index_of(*free)};
}

Reply Server::profile_fill(std::uint64_t index, std::uint64_t offset, Thread thread) {
  if (index >= VMSRS_MAX_REGIONS) return VMSRS_NO_REGION;
  Region& region = ledger_.regions[index];
  if (region.state == Region::State::kNone) return VMSRS_NO_REGION;
  if (region.state == Region::State::kLive) return VMSRS_WRONG_STATE;
  if (offset != region.filled) return VMSRS_BAD_ARGUMENT;

  const std::uint64_t left = region.bytes - offset;
  const std::uint64_t count = left < kFillBytes ? left : kFillBytes;
  const GuestVirtual from{region.address + offset};
  if (const auto outcome = thread.memory.read(from, region.mirror + offset, count); !outcome)
    return reply_for(outcome);
  if (region.claims != 0)
    for (std::uint64_t at = offset; at < offset + count; at += region.granule_bytes()) {
      MappedGranule granule;
      const auto number = static_cast<std::uint32_t>(at >> region.granule_shift);
      if (const auto outcome = MappedGranule::map(region, number, thread.memory, granule); !outcome)
        return reply_for(outcome);
      granule.clear_mask();
      granule.set_tag(VMSRS_TAG_UNOWNED);
    }
  clear_bytes(region.heads + (offset >> region.granule_shift),
              (count >> region.granule_shift) * sizeof(RecordId));
  region.filled += count;
  if (region.filled < region.bytes) return {VMSRS_AGAIN, region.filled};
  region.state = Region::State::kLive;
  lengthen_walks(region.bytes);
  return {VMSRS_OK, region.filled};
}

Reply Server::unprofile(std::uint64_t index) {
  if (index >= VMSRS_MAX_REGIONS) return VMSRS_NO_REGION;
  Region& region = ledger_.regions[index];
  if (region.state == Region::State::kNone) return VMSRS_NO_REGION;
  const bool claimed = region.claims != 0 && region.state == Region::State::kLive;
  if (region.record_count > 0 || (claimed && !close_quiet_users())) return VMSRS_BUSY;
  region.release(*pool_);
  return VMSRS_OK;
}

}  // namespace vmsrs::recovery
