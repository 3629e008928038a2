// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// Stores and loads. What may fail (guest pages, storage) is made sure of first; then nothing can
// fail any more, so that guest memory and records change together or not at all.
namespace vmsrs::recovery {

struct Server::Source {
  enum class Kind { kValue, kFill, kGuest } kind;
  std::uint64_t value;

  // Brings the bytes into hidden memory.
  MemoryOutcome stage(std::uint8_t* to, std::uint32_t bytes, GuestMemory& memory) const {
    if (kind == Kind::kGuest) return memory.read(GuestVirtual{value}, to, bytes);
    if (kind == Kind::kFill)
      __builtin_memset(to, static_cast<int>(value), bytes);
    else
      copy_bytes(to, &value, bytes);
    return {};
  }
};

Reply Server::store(std::uint64_t address, std::uint64_t value, std::uint32_t bytes,
                    const StoreHints& hints, Thread thread) {
  const Reply reply = put(address, bytes, Source{Source::Kind::kValue, value}, hints, thread);
  const bool stored = reply.ok() && reply.result_count == 0;
  return stored && hints.if_equal ? Reply{VMSRS_OK, 0, hints.expected} : reply;
}

Reply Server::store_range(std::uint64_t to, std::uint64_t from, std::uint32_t bytes,
                          const StoreHints& hints, Thread thread) {
  return put(to, bytes, Source{Source::Kind::kGuest, from}, hints, thread);
}

Reply Server::fill_range(std::uint64_t to, std::uint8_t value, std::uint32_t bytes,
                         const StoreHints& hints, Thread thread) {
  return put(to, bytes, Source{Source::Kind::kFill, value}, hints, thread);
}

Reply Server::put(std::uint64_t to, std::uint32_t bytes, const Source& source,
                  const StoreHints& hints, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  user.quiet = false;
  if (user.crashed()) {
    ++user.suppressed_store_count;
    ++counters_.suppressed_stores;
    return VMSRS_CRASHED;
  }
  if (user.reader) return VMSRS_READ_ONLY;
  Region* const region = region_at(to, bytes);
  if (region == nullptr) return VMSRS_NO_REGION;
  if (region->state != Region::State::kLive) return VMSRS_WRONG_STATE;

  GuestMemory& memory = thread.memory;
  if (const auto outcome = source.stage(staging_, bytes, memory); !outcome)
    return reply_for(outcome);
  if (region->has_claims) {
    Piece piece{};
    if (!Pieces(*region, to, bytes).next(piece) || piece.bytes != bytes) return VMSRS_BAD_LENGTH;
    return store_claimed(*region, piece, hints, slot, memory);
  }
  if (const auto outcome = memory.prepare(GuestVirtual{to}, bytes, Access::kWrite); !outcome)
    return reply_for(outcome);
  const bool recorded = reserve_records(*region, to, bytes, slot);
  if (!recorded && definition_.storage_policy != VMSRS_STORAGE_UNPROTECTED) {
    count_no_storage();
    return VMSRS_NO_STORAGE;
  }
  if (suppressing())
    if (const Reply reply = settle_range(*region, to, bytes, memory); !reply.ok()) return reply;
  std::uint8_t present[8] = {};
  if (hints.if_equal)
    if (const auto outcome = memory.read(GuestVirtual{to}, present, bytes); !outcome)
      return reply_for(outcome);
  if (std::uint64_t found = 0; hints.differ_from(present, bytes, found))
    return {VMSRS_OK, 1, found};
  step(Step::TS_record);
  if (const auto outcome = memory.write(GuestVirtual{to}, staging_, bytes); !outcome)
    return reply_for(outcome);

  Pieces pieces(*region, to, bytes);
  for (Piece piece; pieces.next(piece);) {
    std::uint8_t granule[64];
    copy_bytes(granule + piece.first, staging_ + piece.offset, piece.bytes);
    if (recorded)
      ledger_.put(index_of(*region), piece.granule, slot, piece.mask, granule);
    else
      ledger_.put_committed(index_of(*region), piece.granule, piece.mask, granule);
  }
  ++counters_.stores;
  if (!recorded) count_unprotected_store();
  return VMSRS_OK;
}

// Room for what the store of this range will add.
bool Server::reserve_records(Region& region, std::uint64_t at, std::uint32_t bytes, Slot slot) {
  std::uint64_t missing = 0;
  Pieces pieces(region, at, bytes);
  for (Piece piece; pieces.next(piece);)
    missing += ledger_.needs_record(region, piece.granule, slot, piece.mask);
  const std::uint64_t first = at - region.address;
  return ledger_.reserve(region, static_cast<std::uint32_t>(first >> region.granule_shift),
                         static_cast<std::uint32_t>((first + bytes - 1) >> region.granule_shift),
                         missing);
}

Reply Server::load(std::uint64_t address, std::uint32_t bytes, Thread thread) {
  if (Region* const region = region_at(address, bytes);
      region != nullptr && region->has_claims && region->state == Region::State::kLive) {
    const Slot slot = ledger_.users.find(thread.id);
    if (slot != kNoSlot && ledger_.users[slot].crashed()) return VMSRS_CRASHED;
    Piece piece{};
    if (!Pieces(*region, address, bytes).next(piece) || piece.bytes != bytes)
      return VMSRS_BAD_LENGTH;
    return load_claimed(*region, piece, thread.memory);
  }
  if (const Reply reply = load_range(address, bytes, thread); !reply.ok()) return reply;
  std::uint64_t result = 0;
  step(Step::TL_data);
  if (const auto outcome = thread.memory.read(GuestVirtual{address}, &result, bytes); !outcome)
    return reply_for(outcome);
  return {VMSRS_OK, result};
}

Reply Server::load_range(std::uint64_t address, std::uint32_t bytes, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot != kNoSlot && ledger_.users[slot].crashed()) return VMSRS_CRASHED;
  Region* const region = region_at(address, bytes);
  if (region == nullptr) return VMSRS_NO_REGION;
  if (region->has_claims) return VMSRS_BAD_LENGTH;  // a granule at a time, by LOAD
  const auto outcome = thread.memory.prepare(GuestVirtual{address}, bytes, Access::kRead);
  if (!outcome) return reply_for(outcome);
  if (suppressing() && region->state == Region::State::kLive)
    if (const Reply reply = settle_range(*region, address, bytes, thread.memory); !reply.ok())
      return reply;
  ++counters_.loads;
  return VMSRS_OK;
}

// The mirror is what was committed, whoever owns the granules: nothing else need be looked at.
Reply Server::load_committed(std::uint64_t from, std::uint64_t to, std::uint32_t bytes,
                             Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot != kNoSlot && ledger_.users[slot].crashed()) return VMSRS_CRASHED;
  const Region* const region = region_at(from, bytes);
  if (region == nullptr) return VMSRS_NO_REGION;
  if (region->state != Region::State::kLive) return VMSRS_WRONG_STATE;
  const auto outcome =
      thread.memory.write(GuestVirtual{to}, region->mirror + (from - region->address), bytes);
  if (!outcome) return reply_for(outcome);
  ++counters_.loads;
  return {VMSRS_OK, bytes};
}

Reply Server::settle_range(Region& region, std::uint64_t at, std::uint32_t bytes,
                           GuestMemory& memory) {
  Pieces pieces(region, at, bytes);
  for (Piece piece; pieces.next(piece);) {
    if (!ledger_.has_crashed(region, piece.granule)) continue;
    const auto outcome =
        memory.prepare(region.address_of(piece.granule), region.granule_bytes(), Access::kWrite);
    if (!outcome) return reply_for(outcome);
  }
  pieces = Pieces(region, at, bytes);
  const TimedRestores restored(*this, VMSRS_RESTORED_DEMAND);
  for (Piece piece; pieces.next(piece);)
    if (const auto outcome = settle(region, piece.granule, memory, restored.tally); !outcome)
      return reply_for(outcome);
  return VMSRS_OK;
}

// Writes the granule whole, although only some bytes need it: hidden memory knows what every byte
// of it is worth, whole words are what plain readers must see, and a wild write into a granule that
// a crashed user also stored to is mended with it.
MemoryOutcome Server::settle(Region& region, std::uint32_t granule, GuestMemory& memory,
                             RestoreTally& restored) {
  if (!ledger_.has_crashed(region, granule)) return {};
  if (ledger_.polluted(region, granule) != 0 && !hole(33)) {
    alignas(8) std::uint8_t bytes[64];
    ledger_.compose(region, granule, bytes);
    step(Step::RESTORE_data);
    const auto outcome = memory.write(region.address_of(granule), bytes, region.granule_bytes());
    if (!outcome) return outcome;
    count_restored(region, granule, restored);
  }
  ledger_.drop_crashed(region, granule);
  return {};
}

}  // namespace vmsrs::recovery
