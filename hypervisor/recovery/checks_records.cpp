// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Invariants of the records: storage, chains, and of users and collected what is about records.
namespace vmsrs::recovery {

void Server::check_unprotected(vmsrs_check_result& storage) const {
  const std::uint64_t stores = counters_.unprotected_stores - unprotected_before_attach_;
  if (attached() && stores > 0) unprotected(storage, index_, stores);
}

// Is a record linked as its neighbours say, in a live region, newer than what it lies upon?
static bool sound_link(const Ledger& ledger, RecordId id, const Record& record) {
  if (record.region >= VMSRS_MAX_REGIONS || record.slot >= VMSRS_MAX_USERS) return false;
  const Region& region = ledger.regions[record.region];
  if (region.state != Region::State::kLive && region.state != Region::State::kLeaving) return false;
  if (record.granule >= region.granule_count()) return false;
  if ((record.mask & ~region.granule_mask()) != 0) return false;
  const bool alone = record.newer == kNoRecord && record.older == kNoRecord;
  if (record.mask == 0 && !(alone && region.has_claims)) return false;  // a frozen granule's
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

void Server::check_link(RecordId id, const Record& record, vmsrs_check_result& chains) const {
  ++chains.examined_count;
  if (!sound_link(ledger_, id, record)) violated(chains, index_, record.granule);
}

// A head leads to a record of its granule that nothing lies upon; false if not.
bool Server::check_head(const Region& region, std::uint32_t granule,
                        vmsrs_check_result& chains) const {
  const RecordId id = region.heads[granule];
  if (ledger_.slab.holds(id)) {
    const Record& record = ledger_.at(id);
    if (record.newer == kNoRecord && record.granule == granule &&
        record.region == &region - ledger_.regions)
      return true;
  }
  violated(chains, index_, granule);
  return false;
}

// No record of a finished user, nor of an earlier generation.
void Server::check_writer(const Record& record, vmsrs_check_result& users) const {
  ++users.examined_count;
  if (record.slot >= VMSRS_MAX_USERS) return;  // `chains` says so
  const User& user = ledger_.users[record.slot];
  if (user.state == VMSRS_USER_FREE || user.generation != record.generation)
    violated(users, index_, record.slot);
}

// Outside suppression no record is a crashed user's.
void Server::check_collected(const Record& record, vmsrs_check_result& collected) const {
  if (crashed_count_ > 0 || suppressing()) return;
  ++collected.examined_count;
  if (record.slot < VMSRS_MAX_USERS && ledger_.users[record.slot].crashed())
    violated(collected, index_, record.granule);
}

}  // namespace vmsrs::recovery
