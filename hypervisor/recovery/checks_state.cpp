// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Invariants of users, counters and windows.
namespace vmsrs::recovery {

void Server::check_user(Slot slot, vmsrs_check_result& users) {
  User& user = ledger_.users[slot];
  ++users.examined_count;
  const bool sound = user.state <= VMSRS_USER_STUCK && user.generation >= user.checked_generation &&
                     (user.state != VMSRS_USER_FREE || user.records == kNoRecord) &&
                     (!user.orphan || (user.crashed() && user.drained));
  if (!sound) violated(users, index_, slot);
  user.checked_generation = user.generation;
}

// Suppression exactly while a crashed user is there; those were counted afresh.
void Server::check_mode(vmsrs_check_result& users) const {
  if (suppressing() != (crashed_count_.recount() > 0)) violated(users, index_, mode_);
}

// A user collected ahead of its end point holds nothing, and nothing may come after.
void Server::check_collected(Slot slot, vmsrs_check_result& collected) const {
  const User& user = ledger_.users[slot];
  ++collected.examined_count;
  if (user.crashed() && user.restored && user.records != kNoRecord)
    violated(collected, index_, slot);
}

void Server::check_accounting(vmsrs_check_result& accounting) const {
  const auto same = [&](std::uint64_t kept, std::uint64_t counted) {
    ++accounting.examined_count;
    if (kept != counted) violated(accounting, index_, kept);
  };
  const auto recounted = [&](const Tally& tally) { same(tally, tally.recount()); };
  recounted(ledger_.record_count);
  recounted(ledger_.records_of_users);
  recounted(ledger_.contended_granules);
  recounted(ledger_.users.open_count());
  recounted(crashed_count_);
  recounted(stuck_count_);
  recounted(collect_requests_);
  recounted(orphan_count_);
  std::uint64_t of_regions = 0, ended = 0;
  for (const Region& region : ledger_.regions) of_regions += region.record_count;
  for (const std::uint64_t count : counters_.suppression_histogram) ended += count;
  const std::uint64_t open = ledger_.users.open_count().recount();
  same(ledger_.records_of_users, ledger_.record_count);
  same(of_regions, ledger_.record_count);
  same(counters_.collected, ended);
  same(counters_.begun, counters_.finished + counters_.collected + counters_.reaped + open);
}

// The words that the server reads, and the hidden truth.
static void same_word(std::uint64_t shown, std::uint64_t hidden, std::uint32_t server,
                      std::uint64_t detail, vmsrs_check_result& windows) {
  ++windows.examined_count;
  if (shown != hidden) violated(windows, server, detail);
}

void Server::check_status_page(vmsrs_check_result& windows) const {
  const vmsrs_window* const window = platform_->window(index_);
  if (window == nullptr) return;
  const auto same = [&](std::uint64_t shown, std::uint64_t hidden) {
    same_word(shown, hidden, index_, ~0ull, windows);
  };
  const vmsrs_status_page& status = window->status;
  same(status.magic, VMSRS_WINDOW_MAGIC);
  same(status.abi_version, VMSRS_ABI_VERSION);
  same(status.server, index_);
  same(status.mode, mode_);
  same(status.service_request, service_request_);
  same(status.freed, freed_);
  same(status.processes, shared_);
  same(status.containment, containment_);
}

void Server::check_window(Slot slot, vmsrs_check_result& windows) const {
  const vmsrs_window* const window = platform_->window(index_);
  if (window == nullptr) return;
  const User& user = ledger_.users[slot];
  same_word(window->users[slot], user.word(), index_, slot, windows);
  same_word(window->crash_epochs[slot], user.crash_epoch, index_, slot, windows);
}

}  // namespace vmsrs::recovery
