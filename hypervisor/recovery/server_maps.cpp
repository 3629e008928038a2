// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// What management sees of regions and records. Who owns a granule with a claim is told by the claim
// alone, in the server's memory: a thread of the server lends its address space for looking at them
// (SERVICE), piece by piece. What is hidden management's own calls look at, piece by piece too.
namespace vmsrs::recovery {
namespace {

// A granule that nobody has is one.
constexpr std::uint32_t kStepsOfPiece = 2048;
constexpr std::uint32_t kStepsOfClaimed = 2;
constexpr std::uint32_t kStepsOfRecorded = 4;
constexpr std::uint32_t kRecordPagesOfCall = 16;

std::uint32_t state_of(Region::State state) {
  switch (state) {
    case Region::State::kKept:
      return VMSRS_REGION_KEPT;
    case Region::State::kFilling:
      return VMSRS_REGION_FILLING;
    case Region::State::kLive:
      return VMSRS_REGION_LIVE;
    default:
      return VMSRS_REGION_LEAVING;
  }
}

}  // namespace

// ---- regions

void Server::describe(const Region& region, vmsrs_region_info& out) const {
  out = vmsrs_region_info{};
  copy_bytes(out.name, region.name, sizeof out.name);
  out.region = index_of(region);
  out.state = state_of(region.state);
  out.bytes = region.bytes;
  out.filled_bytes = region.filled;
  out.granule_bytes = region.granule_bytes();
  out.flags =
      (region.has_claims ? VMSRS_REGION_CLAIMS : 0) | (region.eager ? VMSRS_REGION_EAGER : 0);
  const Process* first = nullptr;
  for (std::uint32_t i = 0; i < VMSRS_MAX_PROCESSES; ++i) {
    if ((region.processes & bit_of(i)) == 0) continue;
    ++out.process_count;
    if (first == nullptr || processes_[i].number < first->number) first = &processes_[i];
  }
  if (first != nullptr) {
    out.process_id = first->process_id;
    out.address = first->regions[index_of(region)].address;
  }
  out.record_count = region.record_count;
  out.mirror_pages = region.mirror_pages;
  out.head_pages = region.heads.page_count();
  for (const std::uint64_t restored : maps_[index_of(region)].restored)
    out.restore_count += restored;
}

// Cursor: a region's number.
std::uint32_t Server::regions(std::uint64_t& cursor, vmsrs_region_info* out,
                              std::uint32_t room) const {
  std::uint32_t count = 0;
  for (; cursor < VMSRS_MAX_REGIONS; ++cursor) {
    const Region& region = ledger_.regions[cursor];
    if (region.state == Region::State::kNone) continue;
    if (count == room) return count;
    describe(region, out[count++]);
  }
  cursor = 0;
  return count;
}

// ---- maps

void Server::count_restored(const Region& region, std::uint32_t granule, std::uint64_t& cause) {
  ++cause;
  ++maps_[index_of(region)].restored[granule / granules_of_bucket(region.granule_count())];
}

// A region begins.
void Server::clear_map(const Region& region) {
  clear_bytes(&maps_[index_of(region)], sizeof(RegionMap));
}

// Its processes leave: what they owned in it is nobody's.
void Server::forget_look(const Region& region) {
  RegionMap& map = maps_[index_of(region)];
  map.wanted = map.taken = false;
}

bool Server::needs_claims(const Region& region) {
  return region.has_claims && region.state == Region::State::kLive && region.processes != 0;
}

void Server::want_look(const Region& region) {
  RegionMap& map = maps_[index_of(region)];
  if (map.wanted) return;
  map.wanted = true;
  map.granule = 0;
  map.finding_flags = 0;
  map.began_ns = platform_->now_ns();
  clear_bytes(map.finding, sizeof map.finding);
}

Reply Server::region_map(std::uint64_t index, bool anew, vmsrs_region_map& out) {
  if (index >= VMSRS_MAX_REGIONS || ledger_.regions[index].state == Region::State::kNone)
    return VMSRS_NOT_FOUND;
  const Region& region = ledger_.regions[index];
  RegionMap& map = maps_[index];
  if (anew) want_look(region);
  if (!map.wanted && !map.taken) return VMSRS_WRONG_STATE;
  if (map.wanted) {
    if (needs_claims(region))
      call_for_service();
    else
      look_at_records(region);
  }
  describe(region, map, out);
  return map.wanted ? VMSRS_AGAIN : VMSRS_OK;
}

void Server::describe(const Region& region, const RegionMap& map, vmsrs_region_map& out) const {
  out = vmsrs_region_map{};
  const std::uint64_t granules = region.granule_count();
  out.region = index_of(region);
  out.bucket_granules = granules_of_bucket(granules);
  out.bucket_count =
      static_cast<std::uint32_t>((granules + out.bucket_granules - 1) / out.bucket_granules);
  out.is_taken = map.taken;
  if (map.taken) {
    out.flags = map.found_flags;
    out.age_ns = platform_->now_ns() - map.ended_ns;
    out.duration_ns = map.duration_ns;
  }
  std::uint64_t left = granules;
  for (std::uint32_t i = 0; i < out.bucket_count; ++i) {
    vmsrs_map_bucket& bucket = out.buckets[i];
    bucket.granules =
        static_cast<std::uint32_t>(left < out.bucket_granules ? left : out.bucket_granules);
    left -= bucket.granules;
    bucket.restored = map.restored[i];
    if (!map.taken) continue;
    bucket.owned = map.found[i].owned;
    bucket.recorded = map.found[i].recorded;
    bucket.contended = map.found[i].contended;
  }
}

// Returns the steps that it took.
std::uint32_t Server::look_at(const Region& region, std::uint32_t granule, bool claimed) {
  const bool recorded = region.heads[granule] != kNoRecord;
  if (!claimed && !recorded) return 1;
  RegionMap::Found& found =
      maps_[index_of(region)].finding[granule / granules_of_bucket(region.granule_count())];
  ++found.owned;
  found.recorded += recorded;
  found.contended += recorded && ledger_.contended(region, granule);
  return recorded ? kStepsOfRecorded : kStepsOfClaimed;
}

void Server::end_look(const Region& region) {
  RegionMap& map = maps_[index_of(region)];
  copy_bytes(map.found, map.finding, sizeof map.found);
  map.found_flags = map.finding_flags;
  map.ended_ns = platform_->now_ns();
  map.duration_ns = map.ended_ns - map.began_ns;
  map.wanted = false;
  map.taken = true;
}

// Hidden memory alone says who has what: where every store is a call, and where no process has the
// region or may store to it yet.
void Server::look_at_records(const Region& region) {
  RegionMap& map = maps_[index_of(region)];
  const std::uint64_t end = region.filled_granules();
  if (region.has_claims || region.processes == 0) map.finding_flags |= VMSRS_MAP_HIDDEN_ONLY;
  for (std::uint32_t steps = 0; steps < kStepsOfPiece && map.granule < end;) {
    const auto granule = static_cast<std::uint32_t>(map.granule);
    const std::uint64_t next = region.heads.skip_from(granule);
    steps += next == granule ? look_at(region, granule, false) : 1;
    map.granule = next == granule ? next + 1 : next;
  }
  if (map.granule >= end) end_look(region);
}

// The next claims. Those that cannot be read say nothing.
Reply Server::look_at_claims_of(const Region& region, GuestMemory& memory) {
  RegionMap& map = maps_[index_of(region)];
  const std::uint64_t end = region.granule_count();
  for (std::uint32_t steps = 0; steps < kStepsOfPiece && map.granule < end;) {
    const std::uint64_t address = region.claims + map.granule * sizeof(vmsrs_claim);
    const std::uint64_t in_page =
        (VMSRS_PAGE_BYTES - address % VMSRS_PAGE_BYTES) / sizeof(vmsrs_claim);
    std::uint8_t* at = nullptr;
    const auto outcome = memory.map(GuestVirtual{address}, sizeof(vmsrs_claim), Access::kRead, at);
    if (outcome.result == MemoryResult::kTouch) return reply_for(outcome);
    if (!outcome) map.finding_flags |= VMSRS_MAP_UNREADABLE;
    const auto* const claims = outcome ? reinterpret_cast<const vmsrs_claim*>(at) : nullptr;
    for (std::uint64_t k = 0; k < in_page && steps < kStepsOfPiece && map.granule < end;
         ++k, ++map.granule) {
      const auto granule = static_cast<std::uint32_t>(map.granule);
      const bool claimed = claims != nullptr && owner_of_granule(claimant_of(
                                                    load_word(claims[k].tag), granule)) != kNoSlot;
      steps += look_at(region, granule, claimed);
    }
  }
  if (map.granule >= end) end_look(region);
  return VMSRS_AGAIN;
}

// What lies in regions that the caller's process has not joined is left to the others.
Reply Server::serve_maps(GuestMemory& memory) {
  for (const Region& region : ledger_.regions) {
    if (region.state == Region::State::kNone || !maps_[index_of(region)].wanted ||
        !needs_claims(region))
      continue;
    if (region.joined()) return look_at_claims_of(region, memory);
    call_for_service();
  }
  return VMSRS_OK;
}

// ---- records

void Server::describe(const Record& record, bool values, vmsrs_record_info& out) const {
  const Region& region = ledger_.regions[record.region];
  out = vmsrs_record_info{};
  out.sequence = record.sequence;
  out.generation = record.generation;
  out.mask = record.mask;
  out.region = record.region;
  out.granule = record.granule;
  out.slot = record.slot;
  out.state = ledger_.users[record.slot].state;
  out.granule_bytes = region.granule_bytes();
  if (!values || region.state == Region::State::kLeaving) return;  // its mirror goes
  out.flags = VMSRS_RECORD_VALUES;
  copy_masked(out.recorded_bytes, record.bytes, record.mask);
  copy_bytes(out.committed_bytes, region.mirror_of(record.granule), region.granule_bytes());
}

// In the order of the pages where they lie, so that one that is there all the time is listed once.
// Cursor: a record's number.
std::uint32_t Server::records(std::uint64_t wanted, std::uint64_t& cursor, bool values,
                              vmsrs_record_info* out, std::uint32_t room) const {
  std::uint32_t count = 0;
  RecordId first = static_cast<RecordId>(cursor);
  std::uint32_t page = RecordSlab::page_of(first);
  const bool past_end = cursor > first || page >= pool_->page_count();
  std::uint32_t left = PagePool::kPagesOfPiece;
  for (std::uint32_t i = 0; i < kRecordPagesOfCall && !past_end && ledger_.record_count > 0; ++i) {
    page = past_regions(page);
    const std::uint32_t from = page;
    const bool found = pool_->find_owned(owner_of(index_), page, left);
    left -= page - from;
    if (!found) break;
    if (page != past_regions(page)) continue;
    if (ledger_.slab.holds_records(page))
      for (RecordId id = RecordSlab::first_of(page) + 1; id < RecordSlab::first_of(page + 1);
           ++id) {
        const Record& record = ledger_.at(id);
        if (id < first || record.live == 0 ||
            (wanted != VMSRS_EVERY_REGION && record.region != wanted))
          continue;
        if (count == room) {
          cursor = id;
          return count;
        }
        describe(record, values, out[count++]);
      }
    ++page;
  }
  const bool more = !past_end && ledger_.record_count > 0 && page < pool_->page_count();
  cursor = more ? RecordSlab::first_of(page) : 0;
  return count;
}

}  // namespace vmsrs::recovery
