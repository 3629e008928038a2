// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {

void Server::initialise(Platform& platform, PagePool& pool, std::uint32_t index) {
  platform_ = &platform;
  pool_ = &pool;
  index_ = index;
  ledger_.slab.initialise(pool, owner_of(index));
}

// The tables of a server are taken here, once and for ever, so that attaching never runs out of
// memory. They belong to the engine, not to the server's quota.
Reply Server::define(const vmsrs_server_definition& definition) {
  if (!defined_) {
    constexpr std::size_t kTables = UserTable::kBytes + VMSRS_MAX_RANGE_BYTES;
    constexpr auto kPages =
        static_cast<std::uint32_t>((kTables + VMSRS_PAGE_BYTES - 1) / VMSRS_PAGE_BYTES);
    const std::uint32_t page = pool_->take(kPages, kOwnerEngine);
    if (page == 0) return VMSRS_NO_STORAGE;
    staging_ = static_cast<std::uint8_t*>(pool_->address(page));
    ledger_.users.initialise(staging_ + VMSRS_MAX_RANGE_BYTES);
    defined_ = true;
    publish_everything();
  }
  definition_ = definition;
  const std::uint64_t quota = definition.storage_quota_bytes;
  pool_->set_quota(owner_of(index_), quota / VMSRS_PAGE_BYTES + (quota % VMSRS_PAGE_BYTES != 0));
  return {VMSRS_OK, index_};
}

Reply Server::attach(std::uint64_t address_space, std::uint32_t process_id) {
  if (platform_->window(index_) == nullptr) return VMSRS_NOT_FOUND;
  attached_ = true;
  address_space_ = address_space;
  process_id_ = process_id;
  unprotected_before_attach_ = counters_.unprotected_stores;
  publish_everything();
  return {VMSRS_OK, index_};
}

Reply Server::detach() {
  if (!close_quiet_users()) return VMSRS_BUSY;
  release_regions();
  unbind();
  return VMSRS_OK;
}

void Server::unbind() {
  areas_ = 0;
  attached_ = false;
  address_space_ = 0;
  process_id_ = 0;
}

// Users of whom nothing was heard go; false if others are there. (Whether they have open scopes
// only their threads know; the library asks them first.)
bool Server::close_quiet_users() {
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && ledger_.users.open_count() > 0; ++i) {
    const Slot slot = static_cast<Slot>(i);
    const User& user = ledger_.users[slot];
    if (user.state != VMSRS_USER_ACTIVE || !user.quiet || user.records != kNoRecord) continue;
    --counters_.begun;
    close_user(slot);
  }
  return ledger_.users.open_count() == 0;
}

void Server::reap() {
  ledger_.forget_everything();
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    const Slot slot = static_cast<Slot>(i);
    if (ledger_.users[slot].state == VMSRS_USER_FREE) continue;
    ++counters_.reaped;
    close_user(slot);
  }
  if (suppressing()) leave_suppression();
  for (Region& region : ledger_.regions)
    if (region.has_name() && region.state == Region::State::kLive) region.keep();
  release_regions();
  unbind();
}

// The slot is free for the next user. Its records must be gone.
void Server::close_user(Slot slot) {
  User& user = ledger_.users[slot];
  forget_request(user);
  if (user.crashed()) crashed_count_.remove(slot);
  if (user.state == VMSRS_USER_STUCK) stuck_count_.remove(slot);
  user.records = kNoRecord;
  user.record_count = 0;
  ledger_.users.close(slot);
  publish_user(slot);
  if (ledger_.users.resting(slot)) call_for_service();
}

}  // namespace vmsrs::recovery
