// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kDeepest = 1u << 16;

}  // namespace

Reply Server::user_begin(std::uint64_t label, Thread thread) {
  Slot slot = ledger_.users.find(thread.id);
  if (slot != kNoSlot) {
    User& user = ledger_.users[slot];
    if (user.depth == 0) return VMSRS_CRASHED;  // it has still to be collected
    if (user.depth == kDeepest) return VMSRS_NO_SLOT;
    return {VMSRS_OK, slot, ++user.depth};
  }
  const std::uint32_t quota = definition_.user_quota;
  if (quota != 0 && ledger_.users.open_count() >= quota) return VMSRS_NO_SLOT;
  slot = ledger_.users.open(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_SLOT;
  User& user = ledger_.users[slot];
  user.label = label;
  user.depth = 1;
  user.begin_ns = platform_->now_ns();
  ++counters_.begun;
  publish_user(slot);
  return {VMSRS_OK, slot, user.depth};
}

Reply Server::user_end(Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (user.depth > 0) --user.depth;
  if (user.crashed()) return {VMSRS_CRASHED, user.depth};
  if (user.depth > 0) return {VMSRS_OK, user.depth};
  ledger_.commit(slot);
  ++counters_.finished;
  close_user(slot);
  return {VMSRS_OK, 0};
}

Reply Server::user_crash(const vmsrs_fault& fault, Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  ++counters_.faults[fault.kind];
  ++user.fault_count;
  if (user.crashed()) return {VMSRS_CRASHED, user.fault_count};
  user.fault = fault;
  enter_suppression(slot);
  request_scrub(kEveryByte);
  return {VMSRS_OK, user.fault_count};
}

Reply Server::user_stuck(Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (!user.crashed()) return VMSRS_WRONG_STATE;
  if (user.state == VMSRS_USER_STUCK) return VMSRS_OK;
  user.state = VMSRS_USER_STUCK;
  ++stuck_count_;
  publish_user(slot);
  return VMSRS_OK;
}

}  // namespace vmsrs::recovery
