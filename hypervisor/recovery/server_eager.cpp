// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// Eager regions: what plain loads may read of them is made right at the crash, not when somebody
// asks.
namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kRestoredGranules = 256;  // of one call that holds nobody

}  // namespace

bool Server::has_eager_region() const {
  for (const Region& region : ledger_.regions)
    if (region.eager && region.state == Region::State::kLive) return true;
  return false;
}

// First what the crashed user wrote goes, all of it, for it is one list, while other CPUs are held;
// then what that could not do in bounded time; then the regions are compared with their mirrors,
// while nobody is held. In pieces (AGAIN). Where the caller's process does not reach all that the
// user's does, one that does goes on with it; memory that is out of reach of that one too is left
// to the collection, which tells of it.
Reply Server::restore_eagerly(Slot slot, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  if (!user.drained || !reaches(user.thread.process)) return VMSRS_OK;
  if (user.eager_work == EagerWork::kHold)
    if (const Reply reply = restore_held(slot, memory); !reply.ok()) return reply;
  if (user.eager_work == EagerWork::kRestore) {
    std::uint32_t budget = kRestoredGranules;
    const TimedRestores restored(*this, VMSRS_RESTORED_CRASH);
    const Reply reply = restore_records(slot, budget, memory, restored.tally);
    if (reply.status == VMSRS_AGAIN || reply.status == VMSRS_TOUCH) return reply;
    user.eager_work = EagerWork::kSweep;
  }
  if (user.eager_work == EagerWork::kSweep)
    if (const Reply reply = sweep_eager_regions(user, memory); !reply.ok()) return reply;
  user.eager_work = EagerWork::kNone;
  return VMSRS_OK;
}

// Of users whose own call did not do it.
Reply Server::serve_eager_regions(GuestMemory& memory) {
  for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS && crashed_count_ > 0; ++slot)
    if (ledger_.users[static_cast<Slot>(slot)].crashed())
      if (const Reply reply = restore_eagerly(static_cast<Slot>(slot), memory); !reply.ok())
        return reply;
  return VMSRS_OK;
}

// A piece of what the user wrote: plain loads see all of it as before or all of it restored. All
// that may fail comes first, in the hold too, for whoever changes page tables is held with the
// others. What needs more than a bounded time (a damaged tag, a list that cannot be believed) is
// left to those who hold nobody.
Reply Server::restore_held(Slot slot, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  std::uint64_t count = 0;
  bool told = false;
  if (const auto outcome = find_entries(slot, count, told, memory); !outcome)
    return reply_for(outcome);
  const std::uint64_t first = user.eager_done < count ? user.eager_done : count;
  const std::uint64_t entries = count - first < kHeldGranules ? count - first : kHeldGranules;
  const std::uint64_t records = kHeldGranules - entries;
  if (entries > 0)
    if (const auto outcome = read_entries(slot, first, entries, memory); !outcome)
      return reply_for(outcome);
  if (entries > 0 || user.records != kNoRecord) {
    const HeldOthers held(*platform_);
    if (const auto outcome = prepare_held(slot, entries, records, memory); !outcome)
      return reply_for(outcome);
    restore_entries(slot, entries, memory);
    restore_some_records(slot, records, memory);
  }
  user.eager_done = first + entries;
  if (user.eager_done < count || (user.records != kNoRecord && !user.left_behind))
    return VMSRS_AGAIN;
  if (told && !user.left_behind) user.taken = kBegun | count;
  user.eager_work = EagerWork::kRestore;
  user.eager_done = 0;
  return VMSRS_OK;
}

// How many entries the user's write set has: as it has told (and they add up), else as it lies in
// its area. Memory that is out of reach has none.
MemoryOutcome Server::find_entries(Slot slot, std::uint64_t& count, bool& told,
                                   GuestMemory& memory) {
  if (areas_ == 0) return {};
  WriteSet set;
  const auto examined = examine_write_set(slot, set, memory);
  if (examined.result == MemoryResult::kTouch) return examined;
  told = examined && set.sound;
  if (told) {
    count = set.count;
    return {};
  }
  vmsrs_user_area area{};
  const auto read = memory.read(GuestVirtual{area_of(slot)}, &area, sizeof area);
  if (read) count = area.count < write_set_capacity() ? area.count : write_set_capacity();
  return read.result == MemoryResult::kTouch ? read : MemoryOutcome{};
}

// Can all that restore_entries() and restore_some_records() will look at be reached? Memory that is
// gone for good keeps nobody from restoring the rest.
MemoryOutcome Server::prepare_held(Slot slot, std::uint64_t entries, std::uint64_t records,
                                   GuestMemory& memory) {
  const User& user = ledger_.users[slot];
  MappedGranule granule;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t entry = staged_entry(i);
    const Region* const region = region_of_entry(entry, user);
    if (region == nullptr) continue;
    const auto outcome = MappedGranule::map(*region, granule_of(entry), memory, granule);
    if (outcome.result == MemoryResult::kTouch) return outcome;
  }
  for (RecordId id = user.records; id != kNoRecord && records > 0; --records) {
    const Record& record = ledger_.at(id);
    const Region& region = ledger_.regions[record.region];
    const auto outcome = region.has_claims
                             ? MappedGranule::map(region, record.granule, memory, granule)
                             : memory.prepare(region.address_of(record.granule),
                                              region.granule_bytes(), Access::kWrite);
    if (outcome.result == MemoryResult::kTouch) return outcome;
    id = record.next_of_user;
  }
  return {};
}

void Server::restore_entries(Slot slot, std::uint64_t entries, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  const TimedRestores restored(*this, VMSRS_RESTORED_CRASH);
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t entry = staged_entry(i);
    Region* const region = region_of_entry(entry, user);
    if (region == nullptr) continue;
    const std::uint32_t index = granule_of(entry);
    MappedGranule granule;
    if (!MappedGranule::map(*region, index, memory, granule) || granule.claimant().damaged())
      user.left_behind = true;
    else if (holds(slot, entry, *region, granule))
      restore_granule(*region, index, slot, granule, restored.tally);
    else if (!settle_claimed(*region, index, memory, restored.tally))
      user.left_behind = true;
  }
}

// The newest records, no more than were prepared: with one, all go that crashed users have in its
// granule.
void Server::restore_some_records(Slot slot, std::uint64_t records, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  const TimedRestores restored(*this, VMSRS_RESTORED_CRASH);
  const std::uint64_t kept = user.record_count > records ? user.record_count - records : 0;
  while (user.record_count > kept) {
    const std::uint64_t before = user.record_count;
    const Record& record = ledger_.at(user.records);
    Region& region = ledger_.regions[record.region];
    const auto outcome = region.has_claims
                             ? settle_claimed(region, record.granule, memory, restored.tally)
                             : settle(region, record.granule, memory, restored.tally);
    if (!outcome || user.record_count == before) {
      user.left_behind = true;
      return;
    }
  }
}

}  // namespace vmsrs::recovery
