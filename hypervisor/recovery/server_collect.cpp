// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kCollectGranules = 256;  // of one call
constexpr std::uint64_t kBucketsMs[] = VMSRS_SUPPRESSION_BUCKETS_MS;

std::uint32_t bucket_for(std::uint64_t ns) {
  std::uint32_t bucket = 0;
  for (const std::uint64_t limit_ms : kBucketsMs) bucket += ns > limit_ms * 1'000'000;
  return bucket;
}

}  // namespace

// Restores granules that the user has records in, until none or no budget is left.
Reply Server::restore_records(Slot slot, std::uint32_t& budget, GuestMemory& memory,
                              RestoreTally& restored) {
  const User& user = ledger_.users[slot];
  if (const Reply reply = collect_claims(slot, memory, restored); !reply.ok()) return reply;
  while (user.records != kNoRecord) {
    if (budget == 0) return VMSRS_AGAIN;
    --budget;
    const Record& record = ledger_.at(user.records);
    Region& region = ledger_.regions[record.region];
    const auto outcome = region.has_claims
                             ? settle_claimed(region, record.granule, memory, restored)
                             : settle(region, record.granule, memory, restored);
    if (!outcome) return reply_for(outcome);
  }
  return VMSRS_OK;
}

Reply Server::user_collect(Thread thread) {
  const Slot slot = ledger_.users.find(thread.id);
  if (slot == kNoSlot) return VMSRS_NO_USER;
  User& user = ledger_.users[slot];
  if (!user.crashed() || user.depth > 0) return VMSRS_WRONG_STATE;
  note_seen_to(user);
  std::uint32_t budget = kCollectGranules;
  const TimedRestores restored(*this, VMSRS_RESTORED_COLLECTION);
  const Reply reply = restore_records(slot, budget, thread.memory, restored.tally);
  if (reply.status == VMSRS_AGAIN) return {VMSRS_AGAIN, restored.count()};
  if (!reply.ok()) return reply;
  finish_collection(slot);
  return {VMSRS_OK, restored.count()};
}

void Server::finish_collection(Slot slot) {
  const User& user = ledger_.users[slot];
  const std::uint64_t suppressed = platform_->now_ns() - user.crash_ns;
  ++counters_.collected;
  ++counters_.suppression_histogram[bucket_for(suppressed)];
  counters_.ended_suppression_ns += suppressed;

  tell_collected(slot);

  const std::uint64_t place = recent_count_++ % VMSRS_RECENT_USERS;
  vmsrs_user_info& recent = recent_[place];
  describe(slot, recent);
  recent_labels_[place] = ledger_.users.label(slot);
  recent.state = VMSRS_USER_FREE;
  recent.begin_age_ns = user.begin_ns;
  recent.crash_age_ns = user.crash_ns;

  close_user(slot);
  if (crashed_count_ == 0) leave_suppression();
}

void Server::forget_request(User& user) {
  if (!user.collect_requested) return;
  user.collect_requested = false;
  collect_requests_.remove(ledger_.users.slot_of(user));
}

Reply Server::request_collection(std::uint64_t wanted) {
  if (wanted != kEveryCrashedUser) {
    if (wanted >= VMSRS_MAX_USERS) return VMSRS_NOT_FOUND;
    const User& user = ledger_.users[static_cast<Slot>(wanted)];
    if (user.state == VMSRS_USER_FREE) return VMSRS_NOT_FOUND;
    if (!user.crashed()) return VMSRS_WRONG_STATE;
  }
  bool left = false;
  std::uint64_t records = 0;
  for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS; ++slot) {
    User& user = ledger_.users[static_cast<Slot>(slot)];
    if (!user.crashed() || (wanted != kEveryCrashedUser && wanted != slot)) continue;
    // What it has claimed, records do not tell.
    if (user.record_count == 0 && !has_areas()) user.restored = true;
    if (user.restored) continue;
    left = true;
    records += user.record_count;
    if (user.collect_requested) continue;
    user.collect_requested = true;
    collect_requests_.add(slot);
  }
  if (!left) return {VMSRS_OK, 0};
  call_for_service();
  return {VMSRS_AGAIN, records};
}

// The user stays crashed and keeps its slot: its thread is still on the way to its end point, and
// may be within a store until it is drained. Where the caller's process does not reach all that the
// user's does, another one's thread is needed.
Reply Server::serve_collections(GuestMemory& memory) {
  std::uint32_t budget = kCollectGranules;
  const TimedRestores restored(*this, VMSRS_RESTORED_COLLECTION);
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && collect_requests_ > 0; ++i) {
    const Slot slot = static_cast<Slot>(i);
    User& user = ledger_.users[slot];
    if (!user.collect_requested || !user.drained || user.orphan || !reaches(user.thread.process))
      continue;
    const Reply reply = restore_records(slot, budget, memory, restored.tally);
    if (!reply.ok()) return reply;
    user.restored = true;
    forget_request(user);
  }
  return VMSRS_OK;
}

// A user of the caller's process that was declared crashed, and may still be storing or has no
// bound on its time yet. (Another process is not asked: it would wait for one that stands still.)
// One that does not come out of its store is not waited for again: it says so itself, or who stores
// to what it owns sees it.
Reply Server::wanted_drain(const Thread& thread) const {
  for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS && crashed_count_ > 0; ++slot) {
    const User& user = ledger_.users[static_cast<Slot>(slot)];
    if (user.state == VMSRS_USER_CRASHED && !user.seen_to &&
        user.thread.process == thread.id.process)
      return {VMSRS_DRAIN, slot, user.crash_epoch};
  }
  return VMSRS_OK;
}

Reply Server::service(std::uint64_t most_bytes, Thread thread) {
  service_called_ns_ = 0;
  if (const Reply reply = wanted_drain(thread); !reply.ok()) return reply;
  if (orphan_count_ > 0)
    if (const Reply reply = serve_orphans(thread.memory); !reply.ok()) return reply;
  if (collect_requests_ > 0)
    if (const Reply reply = serve_collections(thread.memory); !reply.ok()) return reply;
  if (const Reply reply = serve_resting_slots(thread.memory); !reply.ok()) return reply;
  if (const Reply reply = serve_eager_regions(thread.memory); !reply.ok()) return reply;
  const std::uint64_t bytes = most_bytes != 0 ? most_bytes : VMSRS_MAX_RANGE_BYTES;
  if (const Reply reply = serve_walks(bytes, thread.memory); !reply.ok()) return reply;
  return serve_maps(thread.memory);
}

}  // namespace vmsrs::recovery
