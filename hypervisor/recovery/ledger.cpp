// SPDX-License-Identifier: Apache-2.0
#include "recovery/ledger.hpp"

#include <vmsrs/test_hooks.hpp>

namespace vmsrs::recovery {

// Keeps contended_granules true over any change of one chain.
class Ledger::ChainEdit {
 public:
  ChainEdit(Ledger& ledger, const Region& region, std::uint32_t granule)
      : ledger_(ledger), region_(region), granule_(granule) {
    if (ledger_.contended(region_, granule_)) ledger_.contended_granules.remove(place());
  }
  ~ChainEdit() {
    if (ledger_.contended(region_, granule_)) ledger_.contended_granules.add(place());
  }
  ChainEdit(const ChainEdit&) = delete;
  ChainEdit& operator=(const ChainEdit&) = delete;

 private:
  std::uint64_t place() const {
    return place_of(static_cast<std::uint32_t>(&region_ - ledger_.regions), granule_);
  }

  Ledger& ledger_;
  const Region& region_;
  std::uint32_t granule_;
};

void Ledger::initialise(PagePool& pool, Owner owner) {
  pool_ = &pool;
  owner_ = owner;
  slab.initialise(pool, owner);
}

bool Ledger::contended(const Region& region, std::uint32_t granule) const {
  const RecordId head = region.heads[granule];
  if (head == kNoRecord) return false;
  for (RecordId id = at(head).older; id != kNoRecord; id = at(id).older)
    if (at(id).slot != at(head).slot) return true;
  return false;
}

// The user's newest record, if nobody has written these bytes since: then the bytes may join it,
// and per byte the order of writers stays what it was.
RecordId Ledger::mergeable(const Region& region, std::uint32_t granule, Slot slot,
                           ByteMask mask) const {
  for (RecordId id = region.heads[granule]; id != kNoRecord; id = at(id).older) {
    const Record& record = at(id);
    if (record.slot == slot) return id;
    if ((record.mask & mask) != 0) return kNoRecord;
  }
  return kNoRecord;
}

bool Ledger::needs_record(const Region& region, std::uint32_t granule, Slot slot,
                          ByteMask mask) const {
  return mergeable(region, granule, slot, mask) == kNoRecord;
}

bool Ledger::reserve(Region& region, std::uint32_t first, std::uint32_t last,
                     std::uint64_t records) {
  if (records == 0) return true;
  const bool room = slab.reserve(records) && region.heads.reserve(*pool_, first, last, owner_);
  idle_heads_ |= region.heads.has_idle();
  return room;
}

void Ledger::trim() {
  slab.trim();
  if (!idle_heads_) return;
  for (Region& region : regions) region.heads.trim(*pool_);
  idle_heads_ = false;
}

void Ledger::put(std::uint8_t region_index, std::uint32_t granule, Slot slot, ByteMask mask,
                 const std::uint8_t* from) {
  const Region& region = regions[region_index];
  const ChainEdit edit(*this, region, granule);
  RecordId id = mergeable(region, granule, slot, mask);
  if (id == kNoRecord) id = push(region_index, granule, slot);
  Record& record = at(id);
  record.mask |= mask;
  copy_masked(record.bytes, from, mask);
  seal(record, id);
  for (RecordId old = record.older; old != kNoRecord;) {
    const RecordId next = at(old).older;
    if (at(old).slot == slot) strip(old, mask);
    old = next;
  }
}

void Ledger::put_committed(std::uint8_t region_index, std::uint32_t granule, ByteMask mask,
                           const std::uint8_t* from) {
  const Region& region = regions[region_index];
  const ChainEdit edit(*this, region, granule);
  copy_masked(region.mirror_of(granule), from, mask);
  strip_from(region.heads[granule], mask);
}

RecordId Ledger::push(std::uint8_t region_index, std::uint32_t granule, Slot slot) {
  Region& region = regions[region_index];
  User& user = users[slot];
  const RecordId id = slab.take();
  Record& record = at(id);
  record.sequence = ++sequence;
  record.generation = user.generation;
  record.slot = slot;
  record.region = region_index;
  record.granule = granule;
  record.older = region.heads[granule];
  if (record.older != kNoRecord) at(record.older).newer = id;
  region.heads.set(granule, id);
  record.next_of_user = user.records;
  if (record.next_of_user != kNoRecord) at(record.next_of_user).previous_of_user = id;
  user.records = id;
  ++user.record_count;
  ++region.record_count;
  record_count.add(id);
  records_of_users.add(slot);
  return id;
}

// Takes bytes out of a record; an empty record goes.
void Ledger::strip(RecordId id, ByteMask mask) {
  Record& record = at(id);
  if ((record.mask & mask) == 0) return;
  record.mask &= ~mask;
  if (record.mask == 0)
    remove(id);
  else
    seal(record, id);
}

// Whoever wrote these bytes earlier must not put his value over a committed one when he finishes.
void Ledger::strip_from(RecordId id, ByteMask mask) {
  while (id != kNoRecord) {
    const RecordId older = at(id).older;
    strip(id, mask);
    id = older;
  }
}

void Ledger::remove(RecordId id) {
  const Record& record = at(id);
  Region& region = regions[record.region];
  User& user = users[record.slot];
  if (record.newer != kNoRecord)
    at(record.newer).older = record.older;
  else
    region.heads.set(record.granule, record.older);
  idle_heads_ |= region.heads.has_idle();
  if (record.older != kNoRecord) at(record.older).newer = record.newer;
  (record.previous_of_user != kNoRecord ? at(record.previous_of_user).next_of_user : user.records) =
      record.next_of_user;
  if (record.next_of_user != kNoRecord)
    at(record.next_of_user).previous_of_user = record.previous_of_user;
  --user.record_count;
  --region.record_count;
  record_count.remove(id);
  records_of_users.remove(record.slot);
  slab.give(id);
}

bool Ledger::has_crashed(const Region& region, std::uint32_t granule) const {
  for (RecordId id = region.heads[granule]; id != kNoRecord; id = at(id).older)
    if (users[at(id).slot].crashed()) return true;
  return false;
}

ByteMask Ledger::polluted(const Region& region, std::uint32_t granule) const {
  ByteMask seen = 0;
  ByteMask polluted = 0;
  for (RecordId id = region.heads[granule]; id != kNoRecord; id = at(id).older) {
    const Record& record = at(id);
    if (users[record.slot].crashed()) polluted |= record.mask & ~seen;
    seen |= record.mask;
  }
  return polluted;
}

void Ledger::compose(const Region& region, std::uint32_t granule, std::uint8_t* out) const {
  copy_bytes(out, region.mirror_of(granule), region.granule_bytes());
  ByteMask missing = region.granule_mask();
  for (RecordId id = region.heads[granule]; id != kNoRecord; id = at(id).older) {
    const Record& record = at(id);
    if (users[record.slot].crashed()) continue;
    copy_masked(out, record.bytes, record.mask & missing);
    missing &= ~record.mask;
  }
}

void Ledger::drop_crashed(Region& region, std::uint32_t granule) {
  const ChainEdit edit(*this, region, granule);
  ByteMask seen = 0;
  ++restoration;
  for (RecordId id = region.heads[granule]; id != kNoRecord;) {
    const RecordId next = at(id).older;
    const ByteMask mask = at(id).mask;
    User& user = users[at(id).slot];
    if (user.crashed()) {
      if ((mask & ~seen) != 0 && user.restore_stamp != restoration) {
        user.restore_stamp = restoration;
        ++user.restore_count;
      }
      remove(id);
    }
    seen |= mask;
    id = next;
  }
}

RecordId Ledger::freeze(std::uint8_t region, std::uint32_t granule, Slot slot) {
  const ChainEdit edit(*this, regions[region], granule);
  const RecordId id = push(region, granule, slot);
  seal(at(id), id);
  return id;
}

RecordId Ledger::freeze_of(const Region& region, std::uint32_t granule, Slot slot) const {
  const RecordId id = region.heads[granule];
  return id != kNoRecord && at(id).mask == 0 && at(id).slot == slot ? id : kNoRecord;
}

void Ledger::unfold(RecordId id, ByteMask mask, const std::uint8_t* granule) {
  if (mask == 0) return remove(id);
  at(id).mask = mask;
  copy_masked(at(id).bytes, granule, mask);
  seal(at(id), id);
}

void Ledger::commit(Slot slot) {
  User& user = users[slot];
  while (user.records != kNoRecord) {
    const RecordId id = user.records;
    const Record& record = at(id);
    Region& region = regions[record.region];
    const ChainEdit edit(*this, region, record.granule);
    copy_masked(region.mirror_of(record.granule), record.bytes, record.mask);
    if (!hooks::hole(5)) strip_from(record.older, record.mask);
    remove(id);
  }
}

bool Ledger::forget_records(std::uint8_t index, std::uint32_t& steps) {
  constexpr unsigned kGranulesOfStep = 32;
  Region& region = regions[index];
  for (; region.record_count > 0; --steps) {
    if (steps == 0) return false;
    const auto at = [&] { return static_cast<std::uint32_t>(region.orphan_scan); };
    for (unsigned i = 0; i < kGranulesOfStep && region.heads[at()] == kNoRecord; ++i)
      region.orphan_scan = region.heads.skip_from(at() + 1);
    const RecordId id = region.heads[at()];
    if (id == kNoRecord) continue;
    const ChainEdit edit(*this, region, at());
    remove(id);
  }
  return true;
}

void Ledger::forget_everything() {
  slab.reset();
  record_count.clear();
  records_of_users.clear();
  contended_granules.clear();
}

}  // namespace vmsrs::recovery
