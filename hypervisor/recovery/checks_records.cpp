// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Invariants of the records: storage, chains, collected.
namespace vmsrs::recovery {

void Server::check_storage(vmsrs_check_result& result) const {
  ledger_.slab.check(result, index_);
  const std::uint64_t stores = counters_.unprotected_stores - unprotected_before_attach_;
  if (attached_ && stores > 0) unprotected(result, index_, stores);
}

// Is a record linked as its neighbours say, in a live region, newer than what it lies upon?
static bool sound_link(const Ledger& ledger, RecordId id, const Record& record) {
  if (record.region >= VMSRS_MAX_REGIONS || record.slot >= VMSRS_MAX_USERS) return false;
  const Region& region = ledger.regions[record.region];
  if (region.state != Region::State::kLive || record.granule >= region.granule_count())
    return false;
  if ((record.mask & ~region.granule_mask()) != 0) return false;
  const bool alone = record.newer == kNoRecord && record.older == kNoRecord;
  if (record.mask == 0 && !(alone && region.claims != 0)) return false;  // a frozen granule's
  if (record.newer == kNoRecord) {
    if (region.heads[record.granule] != id) return false;
  } else if (!ledger.slab.holds(record.newer) || ledger.at(record.newer).older != id) {
    return false;
  }
  if (record.older == kNoRecord) return true;
  if (!ledger.slab.holds(record.older)) return false;
  const Record& older = ledger.at(record.older);
  return older.newer == id && older.sequence < record.sequence && older.granule == record.granule &&
         older.region == record.region;
}

void Server::check_chains(vmsrs_check_result& result) const {
  std::uint64_t tops = 0;
  ledger_.slab.for_each([&](RecordId id, const Record& record) {
    ++result.examined_count;
    tops += record.newer == kNoRecord;
    if (!sound_link(ledger_, id, record)) violated(result, index_, record.granule);
  });
  // Each newest record is its granule's head; were there more heads, some would lead nowhere.
  std::uint64_t heads = 0;
  for (const Region& region : ledger_.regions)
    for (std::uint64_t granule = 0; granule < region.filled_granules(); ++granule)
      heads += region.heads[granule] != kNoRecord;
  if (heads != tops) violated(result, index_, heads);
}

// A user collected ahead of its end point holds nothing, and nothing may come after.
void Server::check_collected(vmsrs_check_result& result) const {
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && defined_; ++i) {
    const User& user = ledger_.users[static_cast<Slot>(i)];
    ++result.examined_count;
    if (user.crashed() && user.restored && user.records != kNoRecord) violated(result, index_, i);
  }
  if (crashed_count_ > 0 || suppressing()) return;
  ledger_.slab.for_each([&](RecordId, const Record& record) {
    ++result.examined_count;
    if (record.slot < VMSRS_MAX_USERS && ledger_.users[record.slot].crashed())
      violated(result, index_, record.granule);
  });
}

}  // namespace vmsrs::recovery
