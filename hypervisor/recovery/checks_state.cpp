// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Invariants of users, counters and windows.
namespace vmsrs::recovery {

void Server::check_users(vmsrs_check_result& result) {
  bool anyone_crashed = false;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && defined_; ++i) {
    User& user = ledger_.users[static_cast<Slot>(i)];
    ++result.examined_count;
    anyone_crashed |= user.crashed();
    const bool sound = user.state <= VMSRS_USER_STUCK &&
                       user.generation >= user.checked_generation &&
                       (user.state != VMSRS_USER_FREE || user.records == kNoRecord);
    if (!sound) violated(result, index_, i);
    user.checked_generation = user.generation;
  }
  if (suppressing() != anyone_crashed) violated(result, index_, mode_);
  ledger_.slab.for_each([&](RecordId, const Record& record) {
    ++result.examined_count;
    if (record.slot >= VMSRS_MAX_USERS) return;  // `chains` says so
    const User& user = ledger_.users[record.slot];
    if (user.state == VMSRS_USER_FREE || user.generation != record.generation)
      violated(result, index_, record.slot);
  });
}

namespace {

// What the accounting invariant counts afresh.
struct Recount {
  std::uint64_t records = 0, contended = 0, open = 0, crashed = 0, stuck = 0, requests = 0;
  std::uint64_t user_records = 0, region_records = 0, ended = 0;
};

}  // namespace

void Server::check_accounting(vmsrs_check_result& result) const {
  Recount now;
  ledger_.slab.for_each([&](RecordId, const Record& record) {
    ++now.records;
    if (record.newer != kNoRecord || record.region >= VMSRS_MAX_REGIONS) return;
    const Region& region = ledger_.regions[record.region];
    if (record.granule < region.filled_granules())
      now.contended += ledger_.contended(region, record.granule);
  });
  for (const Region& region : ledger_.regions) now.region_records += region.record_count;
  for (std::uint32_t i = 0; i < VMSRS_MAX_USERS && defined_; ++i) {
    const User& user = ledger_.users[static_cast<Slot>(i)];
    now.open += user.state != VMSRS_USER_FREE;
    now.crashed += user.crashed();
    now.stuck += user.state == VMSRS_USER_STUCK;
    now.requests += user.collect_requested;
    now.user_records += user.record_count;
  }
  for (const std::uint64_t count : counters_.suppression_histogram) now.ended += count;
  const auto same = [&](std::uint64_t kept, std::uint64_t counted) {
    ++result.examined_count;
    if (kept != counted) violated(result, index_, kept);
  };
  same(ledger_.record_count, now.records);
  same(ledger_.contended_granules, now.contended);
  same(now.user_records, now.records);
  same(now.region_records, now.records);
  same(ledger_.users.open_count(), now.open);
  same(crashed_count_, now.crashed);
  same(stuck_count_, now.stuck);
  same(collect_requests_, now.requests);
  same(counters_.collected, now.ended);
  same(counters_.begun, counters_.finished + counters_.collected + counters_.reaped + now.open);
}

void Server::check_windows(vmsrs_check_result& result) const {
  const vmsrs_window* const window = platform_->window(index_);
  if (!defined_ || window == nullptr) return;
  const auto same = [&](std::uint64_t shown, std::uint64_t hidden, std::uint64_t detail) {
    ++result.examined_count;
    if (shown != hidden) violated(result, index_, detail);
  };
  constexpr std::uint64_t kStatusPage = ~0ull;
  const vmsrs_status_page& status = window->status;
  same(status.magic, VMSRS_WINDOW_MAGIC, kStatusPage);
  same(status.abi_version, VMSRS_ABI_VERSION, kStatusPage);
  same(status.server, index_, kStatusPage);
  same(status.mode, mode_, kStatusPage);
  same(status.service_request, service_request_, kStatusPage);
  same(status.freed, freed_, kStatusPage);
  for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS; ++slot) {
    const User& user = ledger_.users[static_cast<Slot>(slot)];
    same(window->users[slot], user.word(), slot);
    same(window->crash_epochs[slot], user.crash_epoch, slot);
  }
}

}  // namespace vmsrs::recovery
