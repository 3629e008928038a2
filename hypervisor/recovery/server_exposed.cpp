// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// Exposed reads: a normal user read what another had not finished, who then crashed. Only sampled
// loads are looked at. What is noted is true: under the server's lock nobody ends or crashes, and
// no granule changes its owner, between the look at who wrote the bytes and the load of them. So a
// user is never called exposed that is not; one that is may well be missed.
namespace vmsrs::recovery {

// Who wrote the bytes of a load that their users have not finished.
struct Server::Writers {
  Slot slots[sizeof(std::uint64_t)];  // of as many bytes
  std::uint32_t count = 0;

  void add(Slot slot) {
    for (std::uint32_t i = 0; i < count; ++i)
      if (slots[i] == slot) return;
    slots[count++] = slot;
  }
};

Reply Server::load_sampled(std::uint64_t address, std::uint32_t bytes, Thread thread) {
  const Slot reader = ledger_.users.find(thread.id);
  Writers writers;
  const Region* const region = region_at(address, bytes);
  const bool normal = reader != kNoSlot && !ledger_.users[reader].crashed();
  if (normal && region != nullptr && region->state == Region::State::kLive) {
    ledger_.users[reader].quiet = false;
    Pieces pieces(*region, address, bytes);
    for (Piece piece; pieces.next(piece);) find_writers(*region, piece, thread.memory, writers);
  }
  const Reply reply = load(address, bytes, thread);
  if (!reply.ok()) return reply;
  for (std::uint32_t i = 0; i < writers.count; ++i)
    if (writers.slots[i] != reader) note_read(ledger_.users[reader], writers.slots[i]);
  return reply;
}

void Server::find_writers(const Region& region, const Piece& piece, GuestMemory& memory,
                          Writers& writers) {
  ByteMask missing = piece.mask;
  for (RecordId id = region.heads[piece.granule]; id != kNoRecord; id = ledger_.at(id).older) {
    const Record& record = ledger_.at(id);
    if (ledger_.users[record.slot].crashed()) continue;
    if ((record.mask & missing) != 0) writers.add(record.slot);
    missing &= ~record.mask;
  }
  if (!region.has_claims) return;
  MappedGranule granule;
  if (!MappedGranule::map(region, piece.granule, memory, granule)) return;
  const Slot owner = owner_of_granule(granule.claimant(), region, piece.granule);
  if (owner == kNoSlot || ledger_.users[owner].crashed()) return;
  // The mask tells of a store that may still have to come: unless, after the look at the mask, its
  // owner is found outside of stores.
  if ((granule.mask() & piece.mask) != 0 && !may_be_storing(owner, memory)) writers.add(owner);
}

bool Server::may_be_storing(Slot slot, GuestMemory& memory) const {
  std::uint8_t* at = nullptr;
  if (!memory.map(GuestVirtual{area_of(slot)}, sizeof(vmsrs_user_area), Access::kWrite, at))
    return true;
  return load_word(reinterpret_cast<const vmsrs_user_area*>(at)->window) == 1;
}

// Few are kept: a user that has read from more is only seen to have read from the last ones.
void Server::note_read(User& reader, Slot writer) {
  User& from = ledger_.users[writer];
  const std::uint64_t name = vmsrs_tag_body(VMSRS_TAG_OWN, writer, from.generation);
  for (const std::uint64_t known : reader.read_from)
    if (known == name) return;
  constexpr std::uint32_t kRoom = sizeof reader.read_from / sizeof *reader.read_from;
  reader.read_from[reader.read_count++ % kRoom] = name;
  from.was_read = true;
}

// The user crashes now.
void Server::expose_readers(Slot slot) {
  if (!ledger_.users[slot].was_read) return;
  const std::uint64_t name = vmsrs_tag_body(VMSRS_TAG_OWN, slot, ledger_.users[slot].generation);
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    User& user = ledger_.users[static_cast<Slot>(i)];
    if (user.state != VMSRS_USER_ACTIVE || user.exposed) continue;
    for (const std::uint64_t read : user.read_from) user.exposed = user.exposed || read == name;
    counters_.exposed += user.exposed;
  }
}

Reply Server::user_exposed(Thread thread) const {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  const User& user = ledger_.users[slot];
  return {VMSRS_OK, user.exposed, user.crashed()};
}

}  // namespace vmsrs::recovery
