// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// AGE (docs/protocol.md). A tag says the lowest 39 bits of its owner's generation. Before these
// come round the slot rests: its generation is one that no user has, until no tag of its earlier
// users is left and nobody who has read one is still within a store. Meanwhile others begin in
// other slots.
namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kPieceClaims = 4096;  // of one call

}  // namespace

// Only a process that has all claims and all windows in its memory can see to it.
bool Server::reaches_all_claims() const {
  if (areas_ == 0) return false;
  for (const Region& region : ledger_.regions)
    if (region.state == Region::State::kLive && region.has_claims && !region.joined()) return false;
  return true;
}

// The service thread's part: looks at all claims, a piece a call, then has every window seen
// closed. For a window that is known to stay open nobody waits: the slots rest until it is closed.
Reply Server::serve_resting_slots(GuestMemory& memory) {
  UserTable& users = ledger_.users;
  if (users.resting_count() == 0 || !reaches_all_claims()) return VMSRS_OK;
  if (aging_.ticket == 0) {
    aging_.ticket = ++ledger_.sequence;
    for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS; ++slot)
      users[static_cast<Slot>(slot)].aging = users.resting(static_cast<Slot>(slot));
  }
  if (!hole(9))
    if (const Reply reply = clear_old_tags(memory); !reply.ok()) return reply;
  aging_.cleared = true;
  if (hole(21)) return slots_aged(aging_.ticket);
  if (abandoned_user() != kNoSlot) return VMSRS_OK;
  return {VMSRS_DRAIN, VMSRS_EVERY_USER, aging_.ticket};
}

// A region that becomes live meanwhile has fresh claims.
Reply Server::clear_old_tags(GuestMemory& memory) {
  std::uint32_t budget = kPieceClaims;
  for (; aging_.region < VMSRS_MAX_REGIONS; ++aging_.region, aging_.granule = 0) {
    const Region& region = ledger_.regions[aging_.region];
    if (!region.has_claims || region.state != Region::State::kLive) continue;
    for (; aging_.granule < region.granule_count(); ++aging_.granule) {
      if (budget-- == 0) return VMSRS_AGAIN;
      const auto outcome =
          clear_old_tag(region, static_cast<std::uint32_t>(aging_.granule), memory);
      if (outcome.result == MemoryResult::kTouch) return reply_for(outcome);
    }
  }
  return VMSRS_OK;
}

// AGE.clear: by exchange, for anybody may claim the granule just now. What lies there is the
// mirror's: its owner has ended.
MemoryOutcome Server::clear_old_tag(const Region& region, std::uint32_t index,
                                    GuestMemory& memory) {
  std::uint8_t* at = nullptr;
  const GuestVirtual address{region.claims + std::uint64_t{index} * sizeof(vmsrs_claim)};
  if (const auto outcome = memory.map(address, sizeof(vmsrs_claim), Access::kWrite, at); !outcome)
    return outcome;
  vmsrs_claim& claim = *reinterpret_cast<vmsrs_claim*>(at);
  std::uint64_t tag = load_word(claim.tag);
  const Claimant claimant = claimant_of(tag, index);
  if (claimant.kind != VMSRS_TAG_OWN || !ledger_.users[claimant.slot].aging) return {};
  count_freed();
  step(Step::AGE_clear);
  const std::uint64_t unowned = vmsrs_tag(vmsrs_tag_body(VMSRS_TAG_UNOWNED, 0, 0), index);
  (void)__atomic_compare_exchange_n(&claim.tag, &tag, unowned, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
  return {};
}

// AGE.grace: every window was seen closed since the tags were cleared.
Reply Server::slots_aged(std::uint64_t ticket) {
  if (!aging_.cleared || ticket != aging_.ticket || areas_ == 0) return VMSRS_WRONG_STATE;
  wake_slots([](const User& user) { return user.aging; });
  aging_ = {};
  if (ledger_.users.resting_count() > 0) call_for_service();
  return VMSRS_OK;
}

// No region with claims is left: nor is any tag.
void Server::wake_all_slots() {
  wake_slots([](const User&) { return true; });
  aging_ = {};
}

template <typename Wanted>
void Server::wake_slots(Wanted wanted) {
  UserTable& users = ledger_.users;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && users.resting_count() > 0; ++i) {
    const Slot slot = static_cast<Slot>(i);
    if (!users.resting(slot) || !wanted(users[slot])) continue;
    users.wake(slot);
    publish_user(slot);
  }
}

}  // namespace vmsrs::recovery
