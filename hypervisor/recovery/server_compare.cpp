// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Comparing regions with their mirrors needs the server's memory, so a thread of the server lends
// its address space for it, piece by piece (SERVICE). Where a byte differs while nobody owns its
// granule, it was changed behind the library's back. A check only looks and tells; a sweep (after a
// crash) or a scrub (asked for) writes the committed value over it.
namespace vmsrs::recovery {
namespace {

// What one call restores at most, for the server's other calls wait meanwhile.
constexpr std::uint32_t kPieceDifferences = 256;

// Of any size: regions are multiples of the largest one.
constexpr std::uint64_t whole_granules(std::uint64_t bytes) {
  constexpr std::uint64_t kLargest = 64;
  return (bytes + kLargest - 1) & ~(kLargest - 1);
}

}  // namespace

std::uint64_t Server::live_bytes() const {
  std::uint64_t bytes = 0;
  for (const Region& region : ledger_.regions)
    if (region.state == Region::State::kLive) bytes += region.bytes;
  return attached() ? bytes : 0;
}

void Server::request_comparison() {
  comparison_ = Walk{};
  comparison_.left = live_bytes();
  if (comparing()) call_for_service();
}

// Goes on where the last one stopped, so that servers whose users crash all the time are swept to
// their last region, too.
void Server::request_scrub(std::uint64_t bytes) {
  const std::uint64_t all = live_bytes();
  const std::uint64_t wanted = bytes < all ? whole_granules(bytes) : all;
  if (scrub_.left < wanted) scrub_.left = wanted;
  if (scrub_left() > 0) call_for_service();
}

// A region that becomes live while a walk is under way lengthens its lap.
void Server::lengthen_walks(std::uint64_t bytes) {
  if (comparison_.left > 0) comparison_.left += bytes;
  if (scrub_.left > 0) scrub_.left += bytes;
}

void Server::stop_walks() { comparison_.left = scrub_.left = 0; }

void Server::report_comparison(vmsrs_check_result& result) {
  const Walk& mine = comparison_;
  result.examined_count += mine.result.examined_count;
  if (mine.result.violation_count > 0) {
    violated(result, index_, mine.result.detail);
    result.violation_count += mine.result.violation_count - 1;
  }
  if (comparing()) {
    result.verdict = VMSRS_VERDICT_PENDING;
    call_for_service();
  } else if (mine.unreadable && result.verdict == VMSRS_VERDICT_OK) {
    result.verdict = VMSRS_VERDICT_UNVERIFIED;
  }
}

// A check that was asked for before a sweep must still find what the sweep would restore.
Reply Server::serve_walks(std::uint64_t most_bytes, GuestMemory& memory) {
  if (comparison_.left > 0) return walk_piece(comparison_, Repair::kNone, most_bytes, memory);
  if (scrub_.left > 0) return walk_piece(scrub_, Repair::kRestore, most_bytes, memory);
  return VMSRS_OK;
}

const Region* Server::next_region(Walk& walk) const {
  for (std::uint32_t i = 0; i <= VMSRS_MAX_REGIONS; ++i) {
    const Region& region = ledger_.regions[walk.region];
    if (region.state == Region::State::kLive && walk.offset < region.bytes) return &region;
    walk.region = (walk.region + 1) % VMSRS_MAX_REGIONS;
    walk.offset = 0;
  }
  return nullptr;
}

Reply Server::walk_piece(Walk& walk, Repair repair, std::uint64_t most_bytes, GuestMemory& memory) {
  const Region* const region = next_region(walk);
  if (region == nullptr) {
    walk.left = 0;
    return VMSRS_OK;
  }
  if (!region->joined()) {  // another process's service thread goes on
    call_for_service();
    return VMSRS_OK;
  }
  std::uint64_t bytes = region->bytes - walk.offset;
  if (bytes > most_bytes) bytes = whole_granules(most_bytes);
  if (bytes > walk.left) bytes = whole_granules(walk.left);
  std::uint64_t done = 0;
  const MemoryOutcome outcome = compare_run(walk, *region, bytes, repair, memory, done);
  walk.result.examined_count += done >> region->granule_shift;
  if (outcome.result == MemoryResult::kBadAddress) {
    walk.unreadable = true;
    done = bytes;
  }
  walk.offset += done;
  walk.left -= done < walk.left ? done : walk.left;
  if (outcome.result == MemoryResult::kTouch) return reply_for(outcome);
  return comparison_.left > 0 || scrub_.left > 0 ? VMSRS_AGAIN : VMSRS_OK;
}

// The sweep of a user's crash, where it must not wait for the service thread.
Reply Server::sweep_eager_regions(User& user, GuestMemory& memory) {
  std::uint64_t budget = VMSRS_MAX_RANGE_BYTES;
  for (; user.swept_region < VMSRS_MAX_REGIONS; ++user.swept_region, user.eager_done = 0) {
    const Region& region = ledger_.regions[user.swept_region];
    if (!region.eager || region.state != Region::State::kLive || user.eager_done >= region.bytes)
      continue;
    Walk walk{};
    walk.offset = user.eager_done;
    const std::uint64_t left = region.bytes - user.eager_done;
    const std::uint64_t bytes = left < budget ? left : budget;
    std::uint64_t done = 0;
    const MemoryOutcome outcome = compare_run(walk, region, bytes, Repair::kRestore, memory, done);
    if (outcome.result == MemoryResult::kBadAddress) done = bytes;
    user.eager_done += done;
    budget -= bytes;
    if (outcome.result == MemoryResult::kTouch) return reply_for(outcome);
    if (user.eager_done < region.bytes) return VMSRS_AGAIN;
  }
  return VMSRS_OK;
}

// `done` counts the bytes that need not be looked at again: all of them, unless memory fails or too
// much differs.
MemoryOutcome Server::compare_run(Walk& walk, const Region& region, std::uint64_t bytes,
                                  Repair repair, GuestMemory& memory, std::uint64_t& done) {
  const std::uint64_t size = region.granule_bytes();
  for (std::uint32_t i = 0; i < kPieceDifferences; ++i) {
    const std::uint64_t at = walk.offset + done;
    std::size_t same = 0;
    const auto compared =
        memory.compare(GuestVirtual{region.address + at}, region.mirror + at, bytes - done, same);
    if (!compared) return compared;
    done = (done + same) & ~(size - 1);
    if (done == bytes) break;
    const auto outcome = examine(walk, region, walk.offset + done, repair, memory);
    if (!outcome) return outcome;
    done += size;
  }
  return {};
}

// A granule that differs from its mirror.
MemoryOutcome Server::examine(Walk& walk, const Region& region, std::uint64_t offset, Repair repair,
                              GuestMemory& memory) {
  const auto granule = static_cast<std::uint32_t>(offset >> region.granule_shift);
  if (region.heads[granule] != kNoRecord) return {};  // its owner is at work
  if (region.has_claims) return examine_claimed(walk, region, granule, repair, memory);
  if (repair == Repair::kRestore) {
    const auto outcome =
        memory.write(region.address_of(granule), region.mirror_of(granule), region.granule_bytes());
    if (!outcome) return outcome;
    count_restored(region, granule, restores(VMSRS_RESTORED_SWEEP));
  }
  violated(walk.result, index_, offset);
  return {};
}

// SWEEP: nobody may claim the granule while it is looked at again.
MemoryOutcome Server::examine_claimed(Walk& walk, const Region& region, std::uint32_t index,
                                      Repair repair, GuestMemory& memory) {
  MappedGranule granule;
  if (const auto outcome = MappedGranule::map(region, index, memory, granule); !outcome)
    return outcome;
  const std::uint64_t tag = granule.tag();
  const Claimant claimant = claimant_of(tag, index);
  const bool unowned = claimant.kind == VMSRS_TAG_UNOWNED ||
                       claimant.kind == VMSRS_TAG_CONTENDED ||  // its last record is gone
                       (claimant.kind == VMSRS_TAG_OWN && over(claimant));
  if (claimant.damaged() && repair == Repair::kRestore &&
      restore_unclaimed(region, index, granule, memory))
    violated(walk.result, index_, std::uint64_t{index} << region.granule_shift);
  if (!unowned) return {};
  step(Step::SWEEP_claim);
  if (!hole(8) && !granule.change_tag(tag, VMSRS_TAG_LOCKED)) return {};
  alignas(8) std::uint8_t bytes[64];
  granule.read(bytes);
  if (!equal_bytes(bytes, region.mirror_of(index), region.granule_bytes())) {
    violated(walk.result, index_, std::uint64_t{index} << region.granule_shift);
    if (repair == Repair::kRestore) {
      step(Step::SWEEP_restore);
      granule.write(region.mirror_of(index));
      count_restored(region, index, restores(VMSRS_RESTORED_SWEEP));
    }
  }
  free_granule(granule);
  return {};
}

}  // namespace vmsrs::recovery
