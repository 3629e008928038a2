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

// What is kept for names that this process has not taken up stays.
Reply Server::init_profile() {
  if (process_count_ > 1 || !close_quiet_users(present_) || ledger_.users.open_count() > 0)
    return VMSRS_BUSY;
  leave_regions(present_, Named::kGivenUp);
  stop_walks();
  wake_all_slots();
  set_areas(0);
  area_bytes_ = 0;
  recent_count_ = 0;
  return VMSRS_OK;
}

Region Server::region_wanted(const WantedRegion& wanted) {
  Region region;
  region.granule_shift = static_cast<std::uint8_t>(__builtin_ctz(wanted.granule));
  region.address = wanted.address;
  region.claims = wanted.claims;
  region.has_claims = wanted.claims != 0;
  region.bytes = wanted.bytes;
  region.eager = wanted.eager;
  return region;
}

Reply Server::profile(const WantedRegion& wanted, Thread thread) {
  return profile_new(region_wanted(wanted), thread);
}

// A region with claims needs users with areas, and claims that can be written; all of them are when
// it is filled.
Reply Server::look_at_claims(const Region& region, GuestMemory& memory) {
  if (!region.has_claims) return VMSRS_OK;
  if (areas_ == 0) return VMSRS_WRONG_STATE;
  if (region.claims % sizeof(vmsrs_claim) != 0) return VMSRS_UNALIGNED;
  const std::uint64_t last = region.claims + region.granule_count() * sizeof(vmsrs_claim) - 1;
  for (const std::uint64_t end : {region.claims, last})
    if (const auto outcome = memory.prepare(GuestVirtual{end}, 1, Access::kWrite); !outcome)
      return reply_for(outcome);
  return VMSRS_OK;
}

Reply Server::look_at_ends(std::uint64_t address, std::uint64_t bytes, Access access,
                           Thread thread) {
  for (const std::uint64_t end : {address, address + bytes - 1})
    if (const auto outcome = thread.memory.prepare(GuestVirtual{end}, 1, access); !outcome)
      return reply_for(outcome);
  return VMSRS_OK;
}

Reply Server::profile_new(const Region& wanted, Thread thread) {
  if (wanted.granule_count() > 0xffffffffull) return VMSRS_BAD_LENGTH;

  Region* free = nullptr;
  for (Region& other : ledger_.regions) {
    if (other.overlaps(wanted.address, wanted.bytes)) return VMSRS_OVERLAP;
    if (other.state == Region::State::kNone && free == nullptr) free = &other;
  }
  if (free == nullptr) return VMSRS_NO_SLOT;
  if (const Reply reply = look_at_claims(wanted, thread.memory); !reply.ok()) return reply;
  // The ends now, so that a wild address is refused at once; the rest while filling.
  if (const Reply reply = look_at_ends(wanted.address, wanted.bytes, Access::kRead, thread);
      !reply.ok())
    return reply;
  Region region = wanted;
  if (!region.reserve(*pool_, owner_of(index_))) {
    count_no_storage();
    return VMSRS_NO_STORAGE;
  }
  region.state = Region::State::kFilling;
  *free = region;
  begin_map(*free);
  set_place(*free, wanted.address, wanted.claims);
  return {VMSRS_OK, index_of(*free)};
}

Reply Server::profile_fill(std::uint64_t index, std::uint64_t offset, Thread thread) {
  if (index >= VMSRS_MAX_REGIONS) return VMSRS_NO_REGION;
  Region& region = ledger_.regions[index];
  if (!region.in_use() || !region.joined()) return VMSRS_NO_REGION;
  if (region.state == Region::State::kLive) return VMSRS_WRONG_STATE;
  if (offset != region.filled) return VMSRS_BAD_ARGUMENT;

  const std::uint64_t left = region.bytes - offset;
  const std::uint64_t count = left < kFillBytes ? left : kFillBytes;
  const GuestVirtual at{region.address + offset};
  std::uint8_t* const mirror = region.mirror + offset;
  // Claims first: tags of granules that are not filled yet say nothing, whatever fails after them.
  if (region.has_claims)
    for (std::uint64_t place = offset; place < offset + count; place += region.granule_bytes()) {
      MappedGranule granule;
      const auto number = static_cast<std::uint32_t>(place >> region.granule_shift);
      const auto mapped = MappedGranule::map(region, number, thread.memory, granule);
      if (!mapped) return reply_for(mapped);
      granule.set_tag(VMSRS_TAG_UNOWNED);
    }
  const auto outcome = region.fills_memory ? thread.memory.write(at, mirror, count)
                                           : thread.memory.read(at, mirror, count);
  if (!outcome) return reply_for(outcome);
  region.filled += count;
  region.heads.prepare(region.filled_granules());
  if (region.filled < region.bytes) return {VMSRS_AGAIN, region.filled};
  region.state = Region::State::kLive;
  lengthen_walks(region.bytes);
  region.fills_memory = false;
  return {VMSRS_OK, region.filled};
}

Reply Server::unprofile(std::uint64_t index) {
  if (index >= VMSRS_MAX_REGIONS) return VMSRS_NO_REGION;
  Region& region = ledger_.regions[index];
  if (!region.in_use() || !region.joined()) return VMSRS_NO_REGION;
  const bool claimed = region.has_claims && region.state == Region::State::kLive;
  if (shared(region) || region.record_count > 0 || (claimed && !close_quiet_users(present_)))
    return VMSRS_BUSY;
  region.release(*pool_);
  finish_orphans();
  return VMSRS_OK;
}

}  // namespace vmsrs::recovery
