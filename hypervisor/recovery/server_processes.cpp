// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

// A server may have several processes, which share its regions and each have them at addresses of
// their own. What is hidden knows regions and granules only; the addresses are those of the process
// whose call is under way, as is the memory. One that has not joined a region cannot reach it.
namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kScannedClaims = 4096;  // of one call, as the next one
constexpr std::uint32_t kRestoredGranules = 256;
constexpr std::uint32_t kStepsOfUser = 2;  // its end, and two events
constexpr std::uint32_t kStepsOfReadUser = 64;
constexpr std::uint32_t kFinishedAtOnce = 128;  // others wait for the next SERVICE

}  // namespace

std::uint32_t Server::process_with_id(std::uint32_t process_id) const {
  std::uint32_t process = 0;
  while (process < kNoProcess &&
         !(processes_[process].attached && processes_[process].process_id == process_id))
    ++process;
  return process;
}

std::uint32_t Server::free_process() const {
  std::uint32_t process = 0;
  while (process < kNoProcess && processes_[process].attached) ++process;
  return process;
}

// The word of the status page comes before the second process can do anything: whoever drains reads
// it after a call that saw what that process did.
Reply Server::attach(std::uint32_t process, std::uint64_t address_space, std::uint32_t process_id) {
  if (platform_->window(index_) == nullptr) return VMSRS_NOT_FOUND;
  processes_[process] = Process{};
  processes_[process].attached = true;
  processes_[process].address_space = address_space;
  processes_[process].process_id = process_id;
  processes_[process].number = ++attach_count_;
  present_ = kNoProcess;
  const std::uint32_t others = process_count_++;
  if (others == 0) {
    unprotected_before_attach_ = counters_.unprotected_stores;
    publish_everything();
  } else if (shared_ == 0) {
    shared_ = 1;
    publish_shared();
  }
  tell_of_process(VMSRS_EVENT_ATTACHED, process, others);
  return {VMSRS_OK, index_, others};
}

void Server::show(std::uint32_t process) {
  present_ = process;
  areas_ = processes_[process].areas;
  for (Region& region : ledger_.regions) {
    const auto& place = processes_[process].regions[index_of(region)];
    const bool joined = (region.processes & bit_of(process)) != 0;
    region.address = joined ? place.address : Region::kNowhere;
    region.claims = joined ? place.claims : Region::kNowhere;
  }
}

// Where the process that is shown has the region.
void Server::set_place(Region& region, std::uint64_t address, std::uint64_t claims) {
  region.address = address;
  region.claims = claims;
  region.processes |= bit_of(present_);
  processes_[present_].regions[index_of(region)] = {address, claims};
}

void Server::set_areas(std::uint64_t address) { areas_ = processes_[present_].areas = address; }

// Has the process that is shown everything that the other one has?
bool Server::reaches(std::uint32_t process) const {
  for (const Region& region : ledger_.regions)
    if ((region.processes & bit_of(process)) != 0 && !region.joined()) return false;
  return processes_[process].areas == 0 || areas_ != 0;
}

Reply Server::user_areas(std::uint64_t address, std::uint64_t bytes, Thread thread) {
  if (has_areas() && areas_ == 0) return VMSRS_JOIN;
  if (ledger_.users.open_count() > 0 || (has_areas() && process_count_ > 1)) return VMSRS_BUSY;
  if (const Reply reply = look_at_ends(address, VMSRS_MAX_USERS * bytes, Access::kWrite, thread);
      !reply.ok())
    return reply;
  set_areas(address);
  area_bytes_ = bytes;
  return VMSRS_OK;
}

Reply Server::user_areas_join(std::uint64_t address, std::uint64_t bytes, Thread thread) {
  if (!has_areas()) return VMSRS_NOT_FOUND;
  if (areas_ != 0) return VMSRS_BUSY;
  if (area_bytes_ != bytes) return VMSRS_OTHER_SHAPE;
  if (const Reply reply = look_at_ends(address, VMSRS_MAX_USERS * bytes, Access::kWrite, thread);
      !reply.ok())
    return reply;
  set_areas(address);
  return VMSRS_OK;
}

Reply Server::watch_faults(bool contained, Thread thread) {
  processes_[thread.id.process].faults =
      contained ? WatchedFaults::kContained : WatchedFaults::kLeft;
  return VMSRS_OK;
}

// ---- going

Reply Server::detach(std::uint32_t process) {
  if (!close_quiet_users(process)) return VMSRS_BUSY;
  tell_of_process(VMSRS_EVENT_DETACHED, process, 0);
  leave(process, Named::kGivenUp);
  return VMSRS_OK;
}

// While it lasts nobody attaches, so a server that has one process left gets no other.
Reply Server::reap(std::uint32_t process, std::uint32_t steps) {
  if (!processes_[process].leaving) tell_of_process(VMSRS_EVENT_REAPED, process, users_of(process));
  processes_[process].leaving = true;
  const bool others = process_count_ > 1;
  const bool done = (!others || orphan_users(process, steps)) &&
                    leave_regions(process, Named::kKept, steps) && (others || end_users(steps));
  if (done) leave(process, Named::kKept);
  ledger_.trim();
  return done ? VMSRS_OK : VMSRS_AGAIN;
}

std::uint32_t Server::leaving_process() const {
  std::uint32_t process = 0;
  while (process < kNoProcess && !processes_[process].leaving) ++process;
  return process;
}

// Of the process's users those go of whom nothing was heard; false if others are there. (Whether
// they have open scopes only their threads know; the library asks them first.) The mode moves, so
// that those threads look again.
bool Server::close_quiet_users(std::uint32_t process) {
  bool all = true;
  bool closed = false;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && ledger_.users.open_count() > 0; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (user.state == VMSRS_USER_FREE || user.orphan || user.thread.process != process) continue;
    if (user.state != VMSRS_USER_ACTIVE || !user.quiet || user.records != kNoRecord) {
      all = false;
      continue;
    }
    --counters_.begun;
    close_user(slot);
    closed = true;
  }
  if (closed) change_mode(suppressing());
  return all;
}

// A region that no process has any more is given up or kept. Records in it are those of users that
// are orphans, or go with the process. False: there is more, and no step left.
bool Server::leave_regions(std::uint32_t process, Named named, std::uint32_t& steps) {
  for (Region& region : ledger_.regions) {
    if ((region.processes & bit_of(process)) == 0) continue;
    if (region.processes != bit_of(process)) {
      region.processes &= static_cast<std::uint16_t>(~bit_of(process));
      continue;
    }
    const bool live = region.state == Region::State::kLive;
    if (region.state != Region::State::kLeaving) {
      region.leave(region.waits() || (named == Named::kKept && live && region.has_name()));
      forget_look(region);
    }
    if (!ledger_.forget_records(index_of(region), steps)) return false;
    ledger_.trim();  // of its heads nothing may be left behind
    if (!region.give_back(*pool_, steps)) return false;
  }
  return true;
}

void Server::leave_regions(std::uint32_t process, Named named) {
  std::uint32_t steps = ~0u;
  while (!leave_regions(process, named, steps)) steps = ~0u;
}

void Server::leave(std::uint32_t process, Named named) {
  leave_regions(process, named);
  if (process_count_ == 1) end_everybody();
  processes_[process] = Process{};
  present_ = kNoProcess;
  if (--process_count_ > 0) return finish_orphans(kFinishedAtOnce);
  stop_walks();
  wake_all_slots();
  area_bytes_ = 0;
  shared_ = 0;
  publish_shared();
}

// Of the only process's users, without records.
bool Server::end_users(std::uint32_t& steps) {
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (user.state == VMSRS_USER_FREE) continue;
    if (steps == 0) return false;
    --steps;
    if (user.crashed() && user.fault.kind != VMSRS_FAULT_NONE) tell_crash(slot, nullptr);
    ++counters_.reaped;
    close_user(slot);
    if (suppressing() && crashed_count_ == 0) leave_suppression();
  }
  return true;
}

void Server::end_everybody() {
  ledger_.forget_everything();
  std::uint32_t all = VMSRS_MAX_USERS;
  (void)end_users(all);
}

// ---- users whose process has gone: crashed, at their end points, and nobody's thread ends them

std::uint64_t Server::users_of(std::uint32_t process) const {
  std::uint64_t count = 0;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && ledger_.users.open_count() > 0; ++i) {
    const User& user = ledger_.users[static_cast<Slot>(i)];
    count += user.state != VMSRS_USER_FREE && !user.orphan && !user.unheard_of() &&
             user.thread.process == process;
  }
  return count;
}

// Those who were read from, while they had not finished, take longer: all are told.
bool Server::orphan_users(std::uint32_t process, std::uint32_t& steps) {
  bool any = false, all = true;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && all; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (user.state == VMSRS_USER_FREE || user.orphan || user.thread.process != process) continue;
    all = steps > 0;
    if (!all) break;
    const std::uint32_t needed = user.was_read ? kStepsOfReadUser : kStepsOfUser;
    steps = steps > needed ? steps - needed : 0;
    orphan(slot);
    any = true;
  }
  if (!any) return all;
  for (Region& region : ledger_.regions) {
    if ((region.processes & bit_of(process)) == 0 || !region.has_claims) continue;
    region.has_orphans = true;
    region.orphan_scan = 0;
  }
  request_scrub(kEveryByte);
  call_for_service();
  return all;
}

// No store of it is under way: its threads are no more. What it claimed it has told nobody, so all
// claims are gone through.
void Server::orphan(Slot slot) {
  User& user = ledger_.users[slot];
  if (user.crashed()) {
    note_drained(user);
    tell_crash(slot, nullptr);
  } else if (user.quiet)  // it may not have begun
    enter_suppression(slot, CrashedBy::kItself);
  else
    crash_without_fault(slot, VMSRS_FAULT_ABORT, CrashedBy::kItself);
  user.heard = user.seen_to = true;
  user.eager_work = EagerWork::kNone;  // serve_orphans, and the sweep that is asked for
  user.depth = 0;
  ledger_.users.abandon(slot);
  orphan_count_.add(slot);
  publish_user(slot);
}

// What of them lies where the caller's process reaches; the rest is for the others.
Reply Server::serve_orphans(GuestMemory& memory) {
  std::uint32_t claims = kScannedClaims, granules = kRestoredGranules;
  for (Region& region : ledger_.regions)
    if (region.has_orphans && region.joined())
      if (const Reply reply = scan_for_orphans(region, claims, granules, memory); !reply.ok())
        return reply;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS; ++i)
    if (ledger_.users[static_cast<Slot>(i)].orphan)
      if (const Reply reply = restore_orphan(static_cast<Slot>(i), granules, memory); !reply.ok())
        return reply;
  finish_orphans();
  return VMSRS_OK;
}

Reply Server::scan_for_orphans(Region& region, std::uint32_t& claims, std::uint32_t& granules,
                               GuestMemory& memory) {
  const TimedRestores restored(*this, VMSRS_RESTORED_COLLECTION);
  for (; region.orphan_scan < region.granule_count(); ++region.orphan_scan, --claims) {
    if (claims == 0) return VMSRS_AGAIN;
    const auto index = static_cast<std::uint32_t>(region.orphan_scan);
    std::uint8_t* at = nullptr;
    const GuestVirtual place{region.claims + region.orphan_scan * sizeof(vmsrs_claim)};
    if (const auto outcome = memory.map(place, sizeof(vmsrs_claim), Access::kWrite, at); !outcome)
      return reply_for(outcome);
    const Claimant claimant =
        claimant_of(load_word(reinterpret_cast<const vmsrs_claim*>(at)->tag), index);
    if (claimant.damaged()) {
      MappedGranule granule;
      if (const auto outcome = MappedGranule::map(region, index, memory, granule); !outcome)
        return reply_for(outcome);
      restore_unclaimed(region, index, granule, memory);
      continue;
    }
    const Slot owner = owner_of_granule(claimant);
    if (owner == kNoSlot || !ledger_.users[owner].orphan) continue;
    if (granules == 0) return VMSRS_AGAIN;
    --granules;
    if (const auto outcome = settle_claimed(region, index, memory, restored.tally); !outcome)
      return reply_for(outcome);
  }
  region.has_orphans = false;
  return VMSRS_OK;
}

// Its records. To settle a granule takes away all that crashed users have there.
Reply Server::restore_orphan(Slot slot, std::uint32_t& budget, GuestMemory& memory) {
  const TimedRestores restored(*this, VMSRS_RESTORED_COLLECTION);
  for (RecordId id = ledger_.users[slot].records; id != kNoRecord;) {
    const Record& record = ledger_.at(id);
    Region& region = ledger_.regions[record.region];
    if (!region.joined()) {
      id = record.next_of_user;
      continue;
    }
    if (budget == 0) return VMSRS_AGAIN;
    --budget;
    const auto outcome = region.has_claims
                             ? settle_claimed(region, record.granule, memory, restored.tally)
                             : settle(region, record.granule, memory, restored.tally);
    if (!outcome) return reply_for(outcome);
    id = ledger_.users[slot].records;
  }
  return VMSRS_OK;
}

// Collected are those of whom nothing is left anywhere. One that was given to a thread in advance
// and has left nothing had never begun.
void Server::finish_orphans(std::uint32_t most) {
  if (orphan_count_ == 0) return;
  for (const Region& region : ledger_.regions)
    if (region.has_orphans) return;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && most > 0; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (!user.orphan || user.records != kNoRecord) continue;
    --most;
    if (!user.quiet || user.restore_count > 0) {
      finish_collection(slot);
      continue;
    }
    --counters_.begun;
    close_user(slot);
    if (crashed_count_ == 0) leave_suppression();
  }
}

}  // namespace vmsrs::recovery
