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
  if (!known->waits()) return VMSRS_BUSY;
  if (known->bytes != wanted.bytes || known->granule_shift != wanted.granule_shift)
    return VMSRS_OTHER_SHAPE;
  for (const Region& other : ledger_.regions)
    if (&other != known && other.overlaps(wanted.address, wanted.bytes)) return VMSRS_OVERLAP;
  for (const std::uint64_t end : {wanted.address, wanted.address + wanted.bytes - 1})
    if (const auto outcome = thread.memory.prepare(GuestVirtual{end}, 1, Access::kWrite); !outcome)
      return reply_for(outcome);
  if (const Reply reply = look_at_claims(wanted, thread.memory); !reply.ok()) return reply;
  known->fill_memory_at(wanted.address);
  known->claims = wanted.claims;
  known->eager = wanted.eager;  // how this process reads it; nothing of what is kept depends on it
  return {VMSRS_OK, index_of(*known), 1};
}

Reply Server::unprofile_named(const RegionName& name) {
  Region* const region = region_named(name);
  if (region == nullptr) return VMSRS_NO_REGION;
  if (region->record_count > 0 || (region->claims != 0 && !close_quiet_users())) return VMSRS_BUSY;
  const std::uint64_t number = index_of(*region);
  region->release(*pool_);
  return {VMSRS_OK, number};
}

}  // namespace vmsrs::recovery
