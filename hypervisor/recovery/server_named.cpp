// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// Named regions. What they hold outlives the process, so a name is found before an address is: one
// that waits for memory is taken up, whatever process asks, and only its own shape will do.
namespace vmsrs::recovery {

Region* Server::region_named(const RegionName& name) {
  for (Region& region : ledger_.regions)
    if (region.state != Region::State::kNone && equal_bytes(region.name, name, sizeof name))
      return &region;
  return nullptr;
}

Reply Server::profile_named(const WantedRegion& asked, const RegionName& name, Thread thread) {
  Region wanted = region_wanted(asked);
  copy_bytes(wanted.name, name, sizeof name);
  Region* const known = region_named(name);
  if (known == nullptr) {
    const Reply reply = profile_new(wanted, thread);
    return reply.ok() ? Reply{VMSRS_OK, reply.first, 0} : reply;
  }
  if (known->processes != 0 && !known->joined()) return VMSRS_JOIN;
  if (!known->waits()) return VMSRS_BUSY;
  if (known->bytes != wanted.bytes || known->granule_shift != wanted.granule_shift)
    return VMSRS_OTHER_SHAPE;
  for (const Region& other : ledger_.regions)
    if (&other != known && other.overlaps(wanted.address, wanted.bytes)) return VMSRS_OVERLAP;
  if (const Reply reply = look_at_ends(wanted.address, wanted.bytes, Access::kWrite, thread);
      !reply.ok())
    return reply;
  if (const Reply reply = look_at_claims(wanted, thread.memory); !reply.ok()) return reply;
  known->fill_memory();
  known->has_claims = wanted.has_claims;
  known->eager = wanted.eager;  // how this process reads it; nothing of what is kept depends on it
  set_place(*known, wanted.address, wanted.claims);
  return {VMSRS_OK, index_of(*known), 1};
}

Reply Server::profile_find(const RegionName& name) {
  const Region* const region = region_named(name);
  if (region == nullptr || region->processes == 0) return VMSRS_NO_REGION;
  if (region->state != Region::State::kLive) return VMSRS_WRONG_STATE;
  const std::uint64_t found = index_of(*region) | std::uint64_t{region->granule_bytes()} << 8 |
                              (region->has_claims ? VMSRS_FOUND_CLAIMS : 0u);
  return {VMSRS_OK, found, region->bytes};
}

Reply Server::profile_join(std::uint64_t address, std::uint64_t bytes, std::uint32_t granule,
                           std::uint64_t claims, const RegionName& name, Thread thread) {
  Region* const known = region_named(name);
  if (known == nullptr || known->processes == 0) return VMSRS_NO_REGION;
  if (known->joined()) return VMSRS_BUSY;
  if (known->state != Region::State::kLive) return VMSRS_WRONG_STATE;
  if (known->bytes != bytes || known->granule_bytes() != granule ||
      known->has_claims != (claims != 0))
    return VMSRS_OTHER_SHAPE;
  for (const Region& other : ledger_.regions)
    if (other.overlaps(address, bytes)) return VMSRS_OVERLAP;
  if (const Reply reply = look_at_ends(address, bytes, Access::kWrite, thread); !reply.ok())
    return reply;
  Region wanted = *known;
  wanted.claims = claims;
  if (const Reply reply = look_at_claims(wanted, thread.memory); !reply.ok()) return reply;
  set_place(*known, address, claims);
  return {VMSRS_OK, index_of(*known)};
}

Reply Server::unprofile_named(const RegionName& name) {
  Region* const region = region_named(name);
  if (region == nullptr) return VMSRS_NO_REGION;
  if (shared(*region) || region->record_count > 0 ||
      (region->has_claims && !close_quiet_users(present_)))
    return VMSRS_BUSY;
  const std::uint64_t number = index_of(*region);
  region->release(*pool_);
  finish_orphans();
  return {VMSRS_OK, number};
}

}  // namespace vmsrs::recovery
