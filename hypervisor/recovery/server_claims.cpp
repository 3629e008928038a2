// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// The traps of the trap-free protocol (docs/protocol.md), each step under its name. A granule of a
// region with claims belongs to the user that its tag names; its bytes are recorded here only once
// a second user has stored to it. The server's lock is the lock of all its granules.
namespace vmsrs::recovery {

bool Server::over(const Claimant& claimant) const {
  const User& user = ledger_.users[claimant.slot];
  return user.state == VMSRS_USER_FREE ||
         (user.generation & VMSRS_TAG_GENERATION_MASK) != claimant.generation;
}

// The granule's owner, unless nobody owns it. What a damaged tag may have been is not guessed here.
Slot Server::owner_of_granule(const Claimant& claimant) const {
  const bool owned = claimant.kind == VMSRS_TAG_OWN || claimant.kind == VMSRS_TAG_FROZEN;
  return owned && !over(claimant) ? claimant.slot : kNoSlot;
}

void Server::count_freed() {
  freed_ += !hole(39);
  step(Step::FREE_count);
  if (vmsrs_window* const window = platform_->window(index_))
    store_word(window->status.freed, freed_);
}

// The tag becomes UNOWNED; its bytes are the mirror's. A reader of committed values
// that finds the same tag twice has to know whether the granule was somebody's meanwhile: the count
// first.
void Server::free_granule(MappedGranule& granule) {
  count_freed();
  step(Step::FREE_tag);
  granule.set_tag(VMSRS_TAG_UNOWNED);
  step(Step::FREED);
}

// The same where the tag may be damaged: a frozen granule is known without it.
Slot Server::owner_of_granule(const Claimant& claimant, const Region& region,
                              std::uint32_t index) const {
  const RecordId head = region.heads[index];
  const bool frozen = head != kNoRecord && ledger_.at(head).mask == 0;
  return frozen ? ledger_.at(head).slot : owner_of_granule(claimant);
}

// TL_restore: the mirror's bytes again, the tag last. The owner is crashed and drained.
void Server::restore_granule(Region& region, std::uint32_t index, Slot owner,
                             MappedGranule& granule, RestoreTally& restored) {
  if (const RecordId frozen = ledger_.freeze_of(region, index, owner); frozen != kNoRecord)
    ledger_.thaw(frozen);
  if (granule.mask() != 0) {
    count_restored(region, index, restored);
    ++ledger_.users[owner].restore_count;
  }
  step(Step::RESTORE_data);
  granule.write(region.mirror_of(index));
  if (hole(26) && ledger_.users[owner].depth == 0) return;
  free_granule(granule);
}

// Brings a granule to what it is worth without the crashed users that are drained.
MemoryOutcome Server::settle_claimed(Region& region, std::uint32_t index, GuestMemory& memory,
                                     RestoreTally& restored) {
  MappedGranule granule;
  if (const auto outcome = MappedGranule::map(region, index, memory, granule); !outcome)
    return outcome;
  const Claimant claimant = granule.claimant();
  const Slot owner = owner_of_granule(claimant, region, index);
  if (owner != kNoSlot) {
    const User& user = ledger_.users[owner];
    if (user.crashed() && (user.drained || hole(31)))
      restore_granule(region, index, owner, granule, restored);
  } else if (region.heads[index] != kNoRecord) {
    // CONTENDED; if the tag does not say so, it was damaged.
    if (claimant.kind != VMSRS_TAG_CONTENDED) granule.set_tag(VMSRS_TAG_CONTENDED);
    if (const auto outcome = settle(region, index, memory, restored); !outcome) return outcome;
    if (region.heads[index] == kNoRecord) free_granule(granule);
  }
  return {};
}

// TS_contend: the owner's bytes are kept here from now on. It stores nothing meanwhile: it was
// drained, or it is the caller.
void Server::contend(Region& region, std::uint32_t index, RecordId frozen, std::uint64_t place,
                     MappedGranule& granule, GuestMemory& memory) {
  const Slot owner = ledger_.at(frozen).slot;
  step(Step::TS_contend);
  const ByteMask mask = granule.mask();
  alignas(8) std::uint8_t bytes[64];
  granule.read(bytes);
  if (granule.restore_outside(mask, region.mirror_of(index)))
    count_restored(region, index, restores(VMSRS_RESTORED_SWEEP));
  ledger_.users[owner].masked_taken += masked_sum(region, index, mask);
  ledger_.unfold(frozen, mask, bytes);
  if (!hole(35)) void_claim(owner, region, index, place, memory);
  step(Step::TS_contend_tag);
  granule.set_tag(VMSRS_TAG_CONTENDED);
}

// TS_record: memory and record change together; nothing here can fail. Nothing is changed where
// something else is there than the caller expects.
Reply Server::record_store(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                           MappedGranule& granule) {
  alignas(8) std::uint8_t bytes[64];
  step(Step::TS_record);
  granule.read(bytes);
  if (std::uint64_t found = 0; hints.differ_from(bytes + piece.first, piece.bytes, found)) {
    if (region.heads[piece.granule] == kNoRecord) free_granule(granule);
    return {VMSRS_OK, 1, found};
  }
  copy_bytes(bytes + piece.first, staging_ + piece.offset, piece.bytes);
  granule.write(bytes);
  ledger_.put(index_of(region), piece.granule, slot, piece.mask, bytes);
  ++counters_.stores;
  return VMSRS_OK;
}

// Nobody owned the granule when its tag was this: the caller claims it itself, unless its write set
// has no room for it. Once the engine has freed it, another may have claimed it.
Reply Server::store_unowned(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                            std::uint64_t tag, MappedGranule& granule) {
  if (!hints.write_set_full) return VMSRS_REPEAT;
  step(Step::TS_take);
  if (!granule.change_tag(tag, VMSRS_TAG_CONTENDED)) return VMSRS_REPEAT;
  return record_store(region, piece, hints, slot, granule);
}

Reply Server::store_frozen(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                           Slot owner, MappedGranule& granule, GuestMemory& memory) {
  const RecordId frozen = ledger_.freeze_of(region, piece.granule, owner);
  if (frozen == kNoRecord) return repair(region, piece.granule, hints.ticket, granule, memory);
  const bool drained =
      hints.ticket == ledger_.at(frozen).sequence || hole(1) || (hole(10) && hints.ticket != 0);
  if (owner != slot && !drained) return {VMSRS_DRAIN, owner, ledger_.at(frozen).sequence};
  contend(region, piece.granule, frozen, kUnknownPlace, granule, memory);
  return record_store(region, piece, hints, slot, granule);
}

// Would the store have to be recorded, or prepare for it? Nobody's granule is claimed by the caller
// itself.
bool Server::needs_storage(const Region& region, const Piece& piece, const StoreHints& hints,
                           Slot slot, const Claimant& claimant) const {
  const bool owned = claimant.kind == VMSRS_TAG_OWN || claimant.kind == VMSRS_TAG_FROZEN;
  if (owned && !over(claimant)) {
    const bool restored = ledger_.users[claimant.slot].crashed();
    return restored ? hints.write_set_full : claimant.slot != slot;
  }
  return hints.write_set_full || region.heads[piece.granule] != kNoRecord;
}

// The server's policy decides: refused, or committed at once, so that nobody's end can undo it.
// Only the bytes themselves are written: the granule's owner may be storing beside them.
Reply Server::store_without_storage(Region& region, const Piece& piece, const StoreHints& hints,
                                    GuestMemory& memory) {
  if (definition_.storage_policy != VMSRS_STORAGE_UNPROTECTED) {
    count_no_storage();
    return VMSRS_NO_STORAGE;
  }
  const GuestVirtual to{value(region.address_of(piece.granule)) + piece.first};
  std::uint8_t present[8] = {};
  if (hints.if_equal)
    if (const auto outcome = memory.read(to, present, piece.bytes); !outcome)
      return reply_for(outcome);
  if (std::uint64_t found = 0; hints.differ_from(present, piece.bytes, found))
    return {VMSRS_OK, 1, found};
  if (const auto outcome = memory.write(to, staging_ + piece.offset, piece.bytes); !outcome)
    return reply_for(outcome);
  std::uint8_t bytes[64];
  copy_bytes(bytes + piece.first, staging_ + piece.offset, piece.bytes);
  ledger_.put_committed(index_of(region), piece.granule, piece.mask, bytes);
  ++counters_.stores;
  count_unprotected_store();
  return VMSRS_OK;
}

// T_STORE, of bytes in one granule; they are in staging_.
Reply Server::store_claimed(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                            GuestMemory& memory) {
  MappedGranule granule;
  if (const auto outcome = MappedGranule::map(region, piece.granule, memory, granule); !outcome)
    return reply_for(outcome);
  step(Step::TS_tag);
  const TimedRestores restored(*this, VMSRS_RESTORED_DEMAND);
  const std::uint64_t tag = granule.tag();
  const Claimant claimant = claimant_of(tag, piece.granule);
  if (needs_storage(region, piece, hints, slot, claimant) &&
      !ledger_.reserve(region, piece.granule, piece.granule, 2))
    return store_without_storage(region, piece, hints, memory);
  switch (claimant.kind) {
    case VMSRS_TAG_UNOWNED:
      return store_unowned(region, piece, hints, slot, tag, granule);
    case VMSRS_TAG_CONTENDED:
      if (region.heads[piece.granule] == kNoRecord) {
        free_granule(granule);  // its last record was committed
      } else if (const auto outcome = settle_claimed(region, piece.granule, memory, restored.tally);
                 !outcome) {
        return reply_for(outcome);
      }
      if (region.heads[piece.granule] == kNoRecord)
        return store_unowned(region, piece, hints, slot, granule.unowned_tag(), granule);
      return record_store(region, piece, hints, slot, granule);
    case VMSRS_TAG_OWN:
    case VMSRS_TAG_FROZEN: {
      const bool frozen = claimant.kind == VMSRS_TAG_FROZEN;
      if (over(claimant)) {
        if (!frozen) return store_unowned(region, piece, hints, slot, tag, granule);
        return repair(region, piece.granule, hints.ticket, granule, memory);  // ending a user thaws
      }
      const Slot owner = claimant.slot;
      const User& user = ledger_.users[owner];
      if (user.crashed()) {
        if (!user.drained && !hole(30)) return refused_for(owner);
        restore_granule(region, piece.granule, owner, granule, restored.tally);
        return store_unowned(region, piece, hints, slot, granule.unowned_tag(), granule);
      }
      if (frozen) return store_frozen(region, piece, hints, slot, owner, granule, memory);
      if (owner == slot) return VMSRS_REPEAT;
      // TS_freeze: by exchange, so that damage that comes just now is not painted over.
      step(Step::TS_freeze);
      if (!granule.change_tag(tag, VMSRS_TAG_FROZEN, owner, claimant.generation))
        return VMSRS_REPEAT;
      const RecordId id = ledger_.freeze(index_of(region), piece.granule, owner);
      if (hole(1)) return VMSRS_REPEAT;
      return {VMSRS_DRAIN, owner, ledger_.at(id).sequence};
    }
    default:
      return repair(region, piece.granule, hints.ticket, granule, memory);
  }
}

// T_LOAD, of bytes in one granule.
Reply Server::load_claimed(Region& region, const Piece& piece, GuestMemory& memory) {
  MappedGranule granule;
  if (const auto outcome = MappedGranule::map(region, piece.granule, memory, granule); !outcome)
    return reply_for(outcome);
  if (suppressing()) granule.expect_restoration(region.mirror_of(piece.granule));
  const TimedRestores restored(*this, VMSRS_RESTORED_DEMAND);
  step(Step::TL_tag);
  const Claimant claimant = granule.claimant();
  const Slot owner = owner_of_granule(claimant, region, piece.granule);
  bool owned = false;  // by a user whose stores count: they are in memory alone
  bool shows_mirror = false;
  if (owner != kNoSlot) {
    const User& user = ledger_.users[owner];
    owned = !user.crashed();
    shows_mirror =
        user.crashed() && !user.drained && !hole(31);  // TL_drained: nothing is changed yet
  } else if (region.heads[piece.granule] == kNoRecord) {
    if (claimant.kind == VMSRS_TAG_CONTENDED) free_granule(granule);
    if (claimant.kind == VMSRS_TAG_CONTENDED || claimant.kind == VMSRS_TAG_UNOWNED ||
        claimant.kind == VMSRS_TAG_OWN || (hole(34) && claimant.kind == VMSRS_TAG_FROZEN))
      return VMSRS_REPEAT;
    // TL_damaged: only a confirmed claim can have stored here, and of a crashed user's nothing
    // counts.
    const Slot confirmed = confirmed_owner(region, piece.granule, memory);
    owned = confirmed != kNoSlot && !ledger_.users[confirmed].crashed();
    shows_mirror = !owned;
  }
  if (!shows_mirror) {
    const auto outcome = settle_claimed(region, piece.granule, memory, restored.tally);
    if (!outcome) return reply_for(outcome);
    // TL_restore: free now. Whoever claims it from here on need not have heard of its own crash.
    if (!owned && region.heads[piece.granule] == kNoRecord) shows_mirror = !hole(43);
  }
  step(Step::TL_data);
  alignas(8) std::uint8_t bytes[64];
  if (shows_mirror)
    copy_bytes(bytes, region.mirror_of(piece.granule), region.granule_bytes());
  else
    granule.read(bytes);
  ++counters_.loads;
  std::uint64_t value = 0;
  copy_bytes(&value, bytes + piece.first, piece.bytes);
  return {VMSRS_OK, value};
}

// The granule is a user's that may still be storing to it.
Reply Server::refused_for(Slot owner) const {
  const User& user = ledger_.users[owner];
  const bool stuck = user.state == VMSRS_USER_STUCK;
  return {stuck ? VMSRS_OWNER_STUCK : VMSRS_WAIT, owner, user.crash_epoch};
}

// One that is stuck within a store: whose that store will be cannot be told.
Slot Server::abandoned_user() const {
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && stuck_count_ > 0; ++i) {
    const User& user = ledger_.users[static_cast<Slot>(i)];
    if (user.state == VMSRS_USER_STUCK && !user.drained) return static_cast<Slot>(i);
  }
  return kNoSlot;
}

// TS_damaged: the tag cannot be believed. Unless what is hidden says whose the granule is, nobody
// may be within a store when that is decided: a claim may have been made and not yet confirmed.
Reply Server::repair(Region& region, std::uint32_t index, std::uint64_t ticket,
                     MappedGranule& granule, GuestMemory& memory) {
  if (const RecordId head = region.heads[index]; head != kNoRecord) {
    const Record& record = ledger_.at(head);
    if (record.mask != 0)
      granule.set_tag(VMSRS_TAG_CONTENDED);
    else
      granule.set_tag(VMSRS_TAG_FROZEN, record.slot, record.generation);
    ++counters_.repaired_tags;
    return VMSRS_REPEAT;
  }
  if (const Slot slot = abandoned_user(); slot != kNoSlot) return refused_for(slot);
  if (granule.claimant().kind != VMSRS_TAG_REPAIRING) {
    granule.set_tag(VMSRS_TAG_REPAIRING);
    repair_began_ = ++ledger_.sequence;
    ticket = 0;
  }
  if ((ticket <= repair_began_ || ticket > ledger_.sequence) && !hole(19))
    return {VMSRS_DRAIN, VMSRS_EVERY_USER, ++ledger_.sequence};
  ++counters_.repaired_tags;
  step(Step::TS_repair);
  if (const Slot owner = confirmed_owner(region, index, memory); owner != kNoSlot) {
    granule.set_tag(VMSRS_TAG_OWN, owner, ledger_.users[owner].generation);
    return VMSRS_REPEAT;
  }
  granule.write(region.mirror_of(index));
  free_granule(granule);
  return VMSRS_REPEAT;
}

}  // namespace vmsrs::recovery
