// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// Write sets: which granules a user claimed. A user's end and its collection go through them
// (PREPARE, COMMIT, APPLY, COLLECT of docs/protocol.md). They lie in the server's memory: a sum
// shows damage, and then all claims of the server are gone through instead.
namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kPieceEntries = 128;  // of one call, where a call does not do it all
constexpr std::uint32_t kPieceClaims = 4096;
constexpr std::uint64_t kFetchedAhead = 16;  // granules whose lines are on their way meanwhile
std::uint64_t bytes_of(const vmsrs_written& written) {
  return sizeof written + sizeof(std::uint64_t) * count_bits(vmsrs_written_words(written.mask));
}

bool of_generation(std::uint64_t entry, std::uint64_t generation) {
  return (entry >> 40 & VMSRS_ENTRY_GENERATION_MASK) == (generation & VMSRS_ENTRY_GENERATION_MASK);
}

}  // namespace

std::uint64_t Server::area_of(Slot slot) const {
  return areas_ + std::uint64_t{slot} * area_bytes_;
}
std::uint64_t Server::write_set_capacity() const {
  return (area_bytes_ - sizeof(vmsrs_user_area)) / sizeof(std::uint64_t);
}

MemoryOutcome Server::read_entries(Slot slot, std::uint64_t first, std::uint64_t count,
                                   GuestMemory& memory) {
  const GuestVirtual from{area_of(slot) + sizeof(vmsrs_user_area) + first * sizeof(std::uint64_t)};
  return memory.read(from, staging_, count * sizeof(std::uint64_t));
}

Region* Server::region_of_entry(std::uint64_t entry, const User& user) {
  const std::uint64_t index = entry >> 32 & 0xff;
  if (index >= VMSRS_MAX_REGIONS || !of_generation(entry, user.generation)) return nullptr;
  Region& region = ledger_.regions[index];
  const bool fits = region.joined() && region.state == Region::State::kLive && region.has_claims &&
                    granule_of(entry) < region.granule_count();
  return fits ? &region : nullptr;
}

// Is the write set what its user put there? Reads all of it.
MemoryOutcome Server::examine_write_set(Slot slot, WriteSet& set, GuestMemory& memory) {
  set = WriteSet{};
  const vmsrs_write_set& head = ledger_.users[slot].write_set;
  set.masked = head.masked;
  if (head.count > write_set_capacity()) return {};
  const User& user = ledger_.users[slot];
  std::uint64_t sum = vmsrs_tag_body(VMSRS_TAG_OWN, slot, user.generation);
  bool sound = true;
  for (std::uint64_t done = 0; done < head.count;) {
    const std::uint64_t left = head.count - done;
    const std::uint64_t now = left < kMostStaged ? left : kMostStaged;
    if (const auto outcome = read_entries(slot, done, now, memory); !outcome) return outcome;
    for (std::uint64_t i = 0; i < now; ++i) {
      sound = sound && region_of_entry(staged_entry(i), user) != nullptr;
      sum = vmsrs_write_set_sum(sum, staged_entry(i));
    }
    done += now;
  }
  set.count = head.count;
  set.sound = sound && sum == head.sum;
  return {};
}

// Of the users that are not crashed at most one has a confirmed claim of a granule: the mark is
// taken away with the granule. A crashed user's marks stay, and count no more once it is drained.
template <typename Visit>
void Server::visit_marks(Slot slot, const Region& region, std::uint32_t index, GuestMemory& memory,
                         Visit visit) {
  if (areas_ == 0) return;
  const User& user = ledger_.users[slot];
  const std::uint64_t wanted =
      vmsrs_entry(index_of(region), index, user.generation) | VMSRS_ENTRY_CONFIRMED;
  const std::uint64_t area = area_of(slot);
  std::uint8_t* at = nullptr;
  if (!memory.map(GuestVirtual{area}, sizeof(vmsrs_user_area), Access::kWrite, at)) return;
  std::uint64_t count = load_word(reinterpret_cast<const vmsrs_user_area*>(at)->count);
  if (count > write_set_capacity()) count = write_set_capacity();
  for (std::uint64_t i = 0; i < count;) {
    const std::uint64_t address = area + sizeof(vmsrs_user_area) + i * sizeof(std::uint64_t);
    if (!memory.map(GuestVirtual{address}, sizeof(std::uint64_t), Access::kWrite, at)) return;
    const std::uint64_t in_page = (VMSRS_PAGE_BYTES - address % VMSRS_PAGE_BYTES) / 8;
    auto* const entries = reinterpret_cast<std::uint64_t*>(at);
    const std::uint64_t ignored = hole(12) ? VMSRS_ENTRY_CONFIRMED : 0;
    for (std::uint64_t k = 0; k < in_page && i < count; ++k, ++i)
      if ((load_word(entries[k]) | ignored) == wanted && visit(entries[k])) return;
  }
}

// The place, where it is known, saves the search.
void Server::void_claim(Slot slot, const Region& region, std::uint32_t index, std::uint64_t place,
                        GuestMemory& memory) {
  const std::uint64_t unmarked =
      vmsrs_entry(index_of(region), index, ledger_.users[slot].generation);
  const std::uint64_t address = area_of(slot) + sizeof(vmsrs_user_area) + place * sizeof unmarked;
  std::uint8_t* at = nullptr;
  if (place < write_set_capacity() &&
      memory.map(GuestVirtual{address}, sizeof unmarked, Access::kWrite, at)) {
    auto& entry = *reinterpret_cast<std::uint64_t*>(at);
    if (load_word(entry) == (unmarked | VMSRS_ENTRY_CONFIRMED)) return store_word(entry, unmarked);
  }
  visit_marks(slot, region, index, memory, [](std::uint64_t& entry) {
    store_word(entry, load_word(entry) & ~VMSRS_ENTRY_CONFIRMED);
    return true;
  });
}

Slot Server::confirmed_owner(const Region& region, std::uint32_t index, GuestMemory& memory) {
  Slot owner = kNoSlot;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && owner == kNoSlot; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (user.state == VMSRS_USER_FREE || (user.crashed() && user.drained)) continue;
    visit_marks(slot, region, index, memory, [&](std::uint64_t&) {
      owner = slot;
      return true;
    });
  }
  return owner;
}

// Whose the granule of an entry is: the tag says so or, where it is damaged and nothing hidden says
// otherwise, the entry itself.
bool Server::holds(Slot slot, std::uint64_t entry, const Region& region,
                   const MappedGranule& granule) const {
  const Claimant claimant = granule.claimant();
  if (claimant.kind == VMSRS_TAG_OWN || claimant.kind == VMSRS_TAG_FROZEN)
    return claimant.slot == slot && !over(claimant);
  const bool contended = region.heads[granule_of(entry)] != kNoRecord &&
                         ledger_.freeze_of(region, granule_of(entry), slot) == kNoRecord;
  return claimant.damaged() && !ledger_.users[slot].crashed() &&
         (entry & VMSRS_ENTRY_CONFIRMED) != 0 && !contended;
}

// ---- the end of a user that has not crashed

// WRONG_STATE: the masks are not what this user left there; which bytes are its own cannot be said.
Reply Server::commit_claims(Slot slot, const HandedOver& handed_over, GuestMemory& memory) {
  if (areas_ == 0) return VMSRS_OK;
  User& user = ledger_.users[slot];
  if (handed_over.address != 0 && user.taken == 0 && commit_handed_over(slot, handed_over, memory))
    return VMSRS_OK;
  WriteSet set;
  if (const auto outcome = examine_write_set(slot, set, memory); !outcome)
    return reply_for(outcome);
  const std::uint64_t pages = memory.mapped_pages();
  const bool at_once =
      set.sound && user.taken == 0 && set.count <= kMostStaged && 2 * set.count + 4 <= pages;
  if (at_once)
    if (const Reply reply = apply_claims(slot, set, memory); reply.status != VMSRS_WRONG_STATE)
      return reply;
  return take_claims(slot, set, memory);
}

// All of a small write set in one call: first all is made sure of, then nothing can fail.
// WRONG_STATE: nothing was done, the masks are not what they should be.
Reply Server::apply_claims(Slot slot, const WriteSet& set, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  std::uint64_t masked = user.masked_taken;
  for (std::uint64_t i = 0; i < set.count && !hole(15); ++i) {
    if (i + kFetchedAhead < set.count) {
      const std::uint64_t ahead = staged_entry(i + kFetchedAhead);
      MappedGranule::fetch(*region_of_entry(ahead, user), granule_of(ahead), memory);
    }
    const std::uint64_t entry = staged_entry(i);
    const Region* const region = region_of_entry(entry, user);
    MappedGranule granule;
    if (const auto outcome = MappedGranule::map(*region, granule_of(entry), memory, granule);
        !outcome)
      return reply_for(outcome);
    if (holds(slot, entry, *region, granule))
      masked += masked_sum(*region, granule_of(entry), granule.mask());
  }
  if (masked != set.masked && !hole(15))
    return VMSRS_WRONG_STATE;  // damage, or a granule that was claimed twice
  for (std::uint64_t i = 0; i < set.count; ++i) {
    const std::uint64_t entry = staged_entry(i);
    Region& region = *region_of_entry(entry, user);
    const std::uint32_t index = granule_of(entry);
    MappedGranule granule;
    if (!MappedGranule::map(region, index, memory, granule)) continue;  // was mapped just now
    if (!holds(slot, entry, region, granule)) continue;
    apply_claim(slot, region, index, granule.mask(), granule);
  }
  return VMSRS_OK;
}

void Server::apply_claim(Slot slot, Region& region, std::uint32_t index, ByteMask mask,
                         MappedGranule& granule) {
  alignas(8) std::uint8_t bytes[64];
  std::uint8_t* const mirror = region.mirror_of(index);
  step(Step::APPLY_mirror);
  if (granule.restore_outside(mask, mirror))
    count_restored(region, index, restores(VMSRS_RESTORED_SWEEP));
  granule.read(bytes);
  copy_masked(mirror, bytes, mask);
  if (granule.claimant().kind == VMSRS_TAG_OWN) return;  // the end of the generation frees it
  if (const RecordId frozen = ledger_.freeze_of(region, index, slot); frozen != kNoRecord)
    ledger_.thaw(frozen);
  free_granule(granule);
}

// Puts into staging_ what the user handed over. False: it is not there, or not what the user put
// there.
bool Server::stage_handed_over(Slot slot, const HandedOver& handed_over, GuestMemory& memory) {
  const User& user = ledger_.users[slot];
  const vmsrs_write_set& set = user.write_set;
  const std::uint64_t bytes = handed_over.bytes;
  if (bytes > VMSRS_MAX_RANGE_BYTES || bytes % sizeof(std::uint64_t) != 0) return false;
  if (bytes > 0 && !memory.read(GuestVirtual{handed_over.address}, staging_, bytes)) return false;
  const std::uint64_t own = vmsrs_tag_body(VMSRS_TAG_OWN, slot, user.generation);
  std::uint64_t all = own;
  for (std::uint64_t i = 0; i < bytes / sizeof(std::uint64_t); ++i)
    all = vmsrs_handed_over_sum(all, staged_entry(i));
  if (all != handed_over.sum) return false;
  std::uint64_t sum = own;
  std::uint64_t offset = 0;
  for (std::uint64_t i = 0; i < set.count; ++i) {
    if (bytes - offset < sizeof(vmsrs_written)) return false;
    const vmsrs_written& written = staged_written(offset);
    const Region* const region = region_of_entry(written.entry, user);
    if (region == nullptr || (written.mask & ~region->granule_mask()) != 0) return false;
    if (bytes - offset < bytes_of(written)) return false;
    sum = vmsrs_write_set_sum(sum, written.entry);
    offset += bytes_of(written);
    const std::uint32_t index = granule_of(written.entry);
    __builtin_prefetch(region->mirror_of(index), 1);
  }
  return sum == set.sum && offset == bytes;
}

// The commit of what the user handed over, where it had noted that the granule is its own and
// nothing hidden speaks of it: nobody else can have stored there since. Other granules are looked
// at. False: nothing was done. What lies beside the user's own bytes is looked at only if somebody
// crashed in its time: the sweep at that crash passed over what had an owner.
bool Server::commit_handed_over(Slot slot, const HandedOver& handed_over, GuestMemory& memory) {
  if (!stage_handed_over(slot, handed_over, memory)) return false;
  const User& user = ledger_.users[slot];
  const std::uint64_t count = user.write_set.count;
  if (2 * count + 4 > memory.mapped_pages()) return false;
  const auto is_plain = [](const vmsrs_written& written, const Region& region) {
    return written.mask != 0 && (region.heads[granule_of(written.entry)] == kNoRecord || hole(20));
  };
  std::uint64_t masked = user.masked_taken;
  for (std::uint64_t i = 0, offset = 0; i < count; ++i) {
    const vmsrs_written& written = staged_written(offset);
    const Region& region = *region_of_entry(written.entry, user);
    offset += bytes_of(written);
    if (is_plain(written, region)) {
      masked += masked_sum(region, granule_of(written.entry), written.mask);
      continue;
    }
    MappedGranule granule;
    if (!MappedGranule::map(region, granule_of(written.entry), memory, granule)) return false;
    if (holds(slot, written.entry, region, granule))
      masked += masked_sum(region, granule_of(written.entry), granule.mask());
  }
  if (masked != user.write_set.masked) return false;
  for (std::uint64_t i = 0, offset = 0; i < count; ++i) {
    const vmsrs_written& written = staged_written(offset);
    Region& region = *region_of_entry(written.entry, user);
    const std::uint32_t index = granule_of(written.entry);
    offset += bytes_of(written);
    const bool plain = is_plain(written, region);
    if (plain) commit_words(region.mirror_of(index), &written + 1, written.mask);
    if (plain && mode_ == user.begin_mode) continue;
    MappedGranule granule;
    if (!MappedGranule::map(region, index, memory, granule)) continue;  // a sweep restores the rest
    if (plain && owner_of_granule(granule.claimant()) == slot) {
      if (granule.restore_outside(written.mask, region.mirror_of(index)))
        count_restored(region, index, restores(VMSRS_RESTORED_SWEEP));
    } else if (!plain && holds(slot, written.entry, region, granule)) {
      apply_claim(slot, region, index, granule.mask(), granule);
    }
  }
  return true;
}

// A write set that is large or damaged: its bytes are taken into hidden records, some at each call;
// the commit is then that of the records. The user's thread waits in its end and stores nothing
// meanwhile.
Reply Server::take_claims(Slot slot, const WriteSet& set, GuestMemory& memory) {
  User& user = ledger_.users[slot];
  if (user.taken == 0) user.taken = kBegun | (set.sound ? 0 : kScan);
  if ((user.taken & kScan) == 0 && !set.sound) user.taken = kBegun | kScan;
  const Reply reply = visit_claims(slot, set, memory,
                                   [&](Region& region, std::uint64_t entry, std::uint64_t place) {
                                     return take_claim(slot, region, entry, place, memory);
                                   });
  if (!reply.ok()) return reply;
  return user.masked_taken == set.masked ? VMSRS_OK : VMSRS_WRONG_STATE;
}

Reply Server::take_claim(Slot slot, Region& region, std::uint64_t entry, std::uint64_t place,
                         GuestMemory& memory) {
  const std::uint32_t index = granule_of(entry);
  MappedGranule granule;
  if (const auto outcome = MappedGranule::map(region, index, memory, granule); !outcome)
    return reply_for(outcome);
  if (!holds(slot, entry, region, granule)) return VMSRS_OK;
  if (!ledger_.reserve(region, index, index, 1)) return VMSRS_NO_STORAGE;
  RecordId id = ledger_.freeze_of(region, index, slot);
  if (id == kNoRecord) id = ledger_.freeze(index_of(region), index, slot);
  contend(region, index, id, place, granule, memory);
  return VMSRS_OK;
}

// Calls visit(region, entry, place) for all of a user's claims, a piece a call; AGAIN: there are
// more.
template <typename Visit>
Reply Server::visit_claims(Slot slot, const WriteSet& set, GuestMemory& memory, Visit visit) {
  User& user = ledger_.users[slot];
  if ((user.taken & kScan) != 0) return scan_claims(slot, memory, visit);
  const std::uint64_t first = user.taken & kPosition;
  const std::uint64_t left = set.count - (first < set.count ? first : set.count);
  const std::uint64_t now = left < kPieceEntries ? left : kPieceEntries;
  if (const auto outcome = read_entries(slot, first, now, memory); now > 0 && !outcome)
    return reply_for(outcome);
  for (std::uint64_t i = 0; i < now; ++i, ++user.taken) {
    const std::uint64_t entry = staged_entry(i);
    Region* const region = region_of_entry(entry, user);
    if (region == nullptr) continue;
    if (const Reply reply = visit(*region, entry, first + i); !reply.ok()) return reply;
  }
  return now < left ? VMSRS_AGAIN : VMSRS_OK;
}

// The write set cannot be believed: the claims of all regions, by their tags.
template <typename Visit>
Reply Server::scan_claims(Slot slot, GuestMemory& memory, Visit visit) {
  User& user = ledger_.users[slot];
  std::uint64_t position = user.taken & kPosition;
  std::uint32_t budget = kPieceClaims;
  for (Region& region : ledger_.regions) {
    if (!region.has_claims || !region.joined() || region.state != Region::State::kLive) continue;
    if (position >= region.granule_count()) {
      position -= region.granule_count();
      continue;
    }
    for (; position < region.granule_count(); ++position, ++user.taken) {
      if (budget-- == 0) return VMSRS_AGAIN;
      const auto index = static_cast<std::uint32_t>(position);
      std::uint8_t* at = nullptr;
      const GuestVirtual claim{region.claims + position * sizeof(vmsrs_claim)};
      if (const auto outcome = memory.map(claim, sizeof(vmsrs_claim), Access::kWrite, at); !outcome)
        return reply_for(outcome);
      const std::uint64_t tag = load_word(reinterpret_cast<const vmsrs_claim*>(at)->tag);
      const Claimant claimant = claimant_of(tag, index);
      if (!claimant.damaged() && owner_of_granule(claimant) != slot) continue;
      std::uint64_t entry = vmsrs_entry(index_of(region), index, user.generation);
      if (claimant.damaged() && confirmed_owner(region, index, memory) == slot)
        entry |= VMSRS_ENTRY_CONFIRMED;
      if (const Reply reply = visit(region, entry, kUnknownPlace); !reply.ok()) return reply;
    }
    position = 0;
  }
  return VMSRS_OK;
}

// A granule whose tag is damaged and that no user claims for sure: what lies there counts for
// nobody. The tag is repaired by the next store.
bool Server::restore_unclaimed(const Region& region, std::uint32_t index, MappedGranule& granule,
                               GuestMemory& memory) {
  if (region.heads[index] != kNoRecord || confirmed_owner(region, index, memory) != kNoSlot)
    return false;
  const bool differed = granule.restore_outside(0, region.mirror_of(index));
  if (differed) count_restored(region, index, restores(VMSRS_RESTORED_SWEEP));
  return differed;
}

// ---- the end of a crashed user

Reply Server::collect_claims(Slot slot, GuestMemory& memory, RestoreTally& restored) {
  if (areas_ == 0) return VMSRS_OK;
  User& user = ledger_.users[slot];
  WriteSet set;
  if (const auto outcome = examine_write_set(slot, set, memory); !outcome)
    return reply_for(outcome);
  if ((user.taken & kBegun) == 0 || ((user.taken & kScan) == 0 && !set.sound))
    user.taken = kBegun | (set.sound ? 0 : kScan);
  return visit_claims(
      slot, set, memory, [&](Region& region, std::uint64_t entry, std::uint64_t) -> Reply {
        const std::uint32_t index = granule_of(entry);
        MappedGranule granule;
        if (const auto outcome = MappedGranule::map(region, index, memory, granule); !outcome)
          return reply_for(outcome);
        if (holds(slot, entry, region, granule)) {
          restore_granule(region, index, slot, granule, restored);
          return VMSRS_OK;
        }
        if (granule.claimant().damaged()) {
          restore_unclaimed(region, index, granule, memory);
          return VMSRS_OK;
        }
        return reply_for(settle_claimed(region, index, memory, restored));
      });
}

}  // namespace vmsrs::recovery
