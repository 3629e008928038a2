// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {

void Server::info(vmsrs_server_info& out) const {
  const std::uint64_t now = platform_->now_ns();
  out = vmsrs_server_info{};
  copy_bytes(out.name, definition_.name, sizeof out.name);
  out.server = index_;
  out.attached = attached();
  for (const Process& process : processes_) {
    if (!process.attached) continue;
    std::uint32_t place = 0;  // among those that are listed: in the order in which they attached
    for (const Process& other : processes_)
      place += other.attached && other.number < process.number;
    out.process_ids[place] = process.process_id;
    ++out.process_count;
    out.quarantined_free_count += process.quarantined_free_count;
  }
  out.process_id = out.process_ids[0];
  for (const Region& region : ledger_.regions) {
    if (region.state == Region::State::kKept) {
      ++out.kept_region_count;
      out.kept_bytes += region.bytes;
    }
    if (!region.in_use()) continue;
    ++out.region_count;
    out.eager_region_count += region.eager;
    out.region_bytes += region.bytes;
  }
  out.storage_used_bytes = pool_->used_bytes(owner_of(index_));
  out.mode = mode_;
  out.active_users = static_cast<std::uint32_t>(ledger_.users.open_count() - crashed_count_);
  out.crashed_users = static_cast<std::uint32_t>(crashed_count_);
  out.stuck_users = static_cast<std::uint32_t>(stuck_count_);
  for (std::uint32_t i = 0; defined_ && i < VMSRS_MAX_USERS; ++i) {
    const User& user = ledger_.users[static_cast<Slot>(i)];
    out.active_users -= user.unheard_of();
    if (!user.crashed()) continue;
    const std::uint64_t age = now - user.crash_ns;
    if (age > out.oldest_suppression_age_ns) out.oldest_suppression_age_ns = age;
  }
  const Counters& from = counters_;
  out.suppression_ns = from.suppression_ns + (suppressing() ? now - suppression_began_ns_ : 0);
  copy_bytes(out.faults, from.faults, sizeof out.faults);
  out.user_count = from.begun;
  out.finished_count = from.finished;
  out.collected_count = from.collected;
  out.store_count = from.stores;
  out.load_count = from.loads;
  out.suppressed_store_count = from.suppressed_stores;
  out.demand_restore_count = from.restores[VMSRS_RESTORED_DEMAND].count;
  out.crash_restore_count = from.restores[VMSRS_RESTORED_CRASH].count;
  out.collect_restore_count = from.restores[VMSRS_RESTORED_COLLECTION].count;
  out.sweep_restore_count = from.restores[VMSRS_RESTORED_SWEEP].count;
  for (const RestoreTally& tally : from.restores) out.restore_cycles += tally.cycles;
  out.suppression_count = from.suppressions;
  copy_bytes(out.suppression_histogram, from.suppression_histogram,
             sizeof out.suppression_histogram);
  out.ended_suppression_ns = from.ended_suppression_ns;
  out.contended_granules = ledger_.contended_granules;
  out.record_count = ledger_.record_count;
  out.no_storage_count = from.no_storage;
  out.unprotected_store_count = from.unprotected_stores;
  out.exposed_user_count = from.exposed;
  out.containment = containment_;
}

void Server::observe_restores(RestoreTally& tally, std::uint64_t count,
                              std::uint64_t cycles) const {
  tally.cycles += cycles;
  const std::uint64_t each = cycles / count;
  std::uint32_t bucket = 0;
  while (bucket < VMSRS_RESTORE_BUCKETS - 1 && each > restore_bounds_[bucket]) ++bucket;
  tally.histogram[bucket] += count;
}

void Server::work(vmsrs_server_work& out) const {
  out = vmsrs_server_work{};
  for (std::uint32_t cause = 0; cause < VMSRS_RESTORE_CAUSE_COUNT; ++cause) {
    const RestoreTally& tally = counters_.restores[cause];
    copy_bytes(out.restore_histogram[cause], tally.histogram, sizeof tally.histogram);
    out.restore_cycles[cause] = tally.cycles;
  }
  copy_bytes(out.calls, counters_.calls, sizeof out.calls);
}

Reply Server::report_heaps(std::uint64_t quarantined_free_count) {
  processes_[present_].quarantined_free_count = static_cast<std::uint32_t>(quarantined_free_count);
  return VMSRS_OK;
}

void Server::describe(Slot slot, vmsrs_user_info& out) const {
  const User& user = ledger_.users[slot];
  const std::uint64_t now = platform_->now_ns();
  out = vmsrs_user_info{};
  out.server = index_;
  out.slot = slot;
  out.generation = user.generation;
  out.label = user.label;
  out.label_bytes = ledger_.users.label(slot).bytes;
  out.state = user.state;
  out.fault_count = user.fault_count;
  out.fault = user.fault;
  out.begin_age_ns = now - user.begin_ns;
  if (user.crashed()) out.crash_age_ns = out.suppressed_ns = now - user.crash_ns;
  out.suppressed_store_count = user.suppressed_store_count;
  out.restore_count = user.restore_count;
  out.record_count = user.record_count;
  out.exposed = user.exposed;
}

Reply Server::label_of(std::uint64_t wanted, std::uint64_t generation, UserLabel& out) const {
  const Slot slot = static_cast<Slot>(wanted % VMSRS_MAX_USERS);
  const User& user = ledger_.users[slot];
  if (wanted == slot && user.state != VMSRS_USER_FREE && user.generation == generation) {
    out = ledger_.users.label(slot);
    return VMSRS_OK;
  }
  for (std::uint64_t i = 0; i < VMSRS_RECENT_USERS && i < recent_count_; ++i) {
    if (recent_[i].slot != wanted || recent_[i].generation != generation) continue;
    out = recent_labels_[i];
    return VMSRS_OK;
  }
  return VMSRS_NOT_FOUND;
}

// Cursor: a slot, then (past all slots) the running number of a collected user.
std::uint32_t Server::users(std::uint64_t& cursor, vmsrs_user_info* out, std::uint32_t room) const {
  std::uint32_t count = 0;
  for (; cursor < VMSRS_MAX_USERS; ++cursor) {
    const Slot slot = static_cast<Slot>(cursor);
    const User& user = ledger_.users[slot];
    if (user.state == VMSRS_USER_FREE || user.unheard_of()) continue;
    if (count == room) return count;
    describe(slot, out[count++]);
  }
  const std::uint64_t now = platform_->now_ns();
  std::uint64_t number = cursor - VMSRS_MAX_USERS;
  if (recent_count_ > VMSRS_RECENT_USERS && number < recent_count_ - VMSRS_RECENT_USERS)
    number = recent_count_ - VMSRS_RECENT_USERS;
  for (; number < recent_count_; ++number) {
    if (count == room) {
      cursor = VMSRS_MAX_USERS + number;
      return count;
    }
    vmsrs_user_info& info = out[count++];
    info = recent_[number % VMSRS_RECENT_USERS];
    info.begin_age_ns = now - info.begin_age_ns;
    info.crash_age_ns = now - info.crash_age_ns;
  }
  cursor = 0;
  return count;
}

}  // namespace vmsrs::recovery
