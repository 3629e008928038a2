// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"

namespace vmsrs::recovery {

void Server::initialise(Platform& platform, PagePool& pool, EventRing& events,
                        std::uint32_t index) {
  platform_ = &platform;
  pool_ = &pool;
  events_ = &events;
  index_ = index;
  ledger_.initialise(pool, owner_of(index));
}

// The tables of a server are taken here, once and for ever, so that attaching never runs out of
// memory. They belong to the engine, not to the server's quota.
Reply Server::define(const vmsrs_server_definition& definition) {
  if (!defined_) {
    constexpr std::size_t kMapBytes = sizeof(RegionMap) * VMSRS_MAX_REGIONS;
    constexpr std::size_t kTables = UserTable::kBytes + kStagingBytes + kMapBytes;
    constexpr auto kPages =
        static_cast<std::uint32_t>((kTables + VMSRS_PAGE_BYTES - 1) / VMSRS_PAGE_BYTES);
    const std::uint32_t page = pool_->take(kPages, kOwnerEngine);
    if (page == 0) return VMSRS_NO_STORAGE;
    staging_ = static_cast<std::uint8_t*>(pool_->address(page));
    maps_ = reinterpret_cast<RegionMap*>(staging_ + kStagingBytes);
    ledger_.users.initialise(staging_ + kStagingBytes + kMapBytes);
    constexpr std::uint64_t kBoundsNs[] = VMSRS_RESTORE_BUCKETS_NS;
    const std::uint64_t cycles_per_ms = platform_->cycles_per_second() / 1000;
    for (std::uint32_t i = 0; i < VMSRS_RESTORE_BUCKETS - 1; ++i)
      restore_bounds_[i] = kBoundsNs[i] * cycles_per_ms / 1'000'000;
    defined_ = true;
    publish_everything();
  }
  definition_ = definition;
  const std::uint64_t quota = definition.storage_quota_bytes;
  pool_->set_quota(owner_of(index_), quota / VMSRS_PAGE_BYTES + (quota % VMSRS_PAGE_BYTES != 0));
  return {VMSRS_OK, index_};
}

// The slot is free for the next user. Its records must be gone.
void Server::close_user(Slot slot) {
  User& user = ledger_.users[slot];
  forget_request(user);
  if (user.crashed()) crashed_count_.remove(slot);
  if (user.state == VMSRS_USER_STUCK) stuck_count_.remove(slot);
  if (user.orphan) orphan_count_.remove(slot);
  user.records = kNoRecord;
  user.record_count = 0;
  ledger_.users.close(slot);
  publish_user(slot);
  if (ledger_.users.resting(slot)) call_for_service();
}

}  // namespace vmsrs::recovery
