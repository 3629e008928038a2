// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// A check goes over a server in pieces, for its users wait for the lock meanwhile: what is looked
// at in one piece is of one instant, and every invariant is either about one slot, record or head
// and its neighbours, or about counters (Tally). The bounds are such that a piece touches a few
// hundred cache lines.
namespace vmsrs::recovery {
namespace {

constexpr std::uint32_t kSlotsOfPiece = 64;
constexpr std::uint32_t kRecordPagesOfPiece = 2;
constexpr std::uint32_t kHeadsOfPiece = 4096;
constexpr std::uint32_t kOccupiedHeadsOfPiece = 64;

}  // namespace

void Server::begin_check() {
  check_ = {CheckCursor::Part::kSlots, 0};
  ledger_.users.begin_recount();
  for (Tally* const tally :
       {&crashed_count_, &stuck_count_, &collect_requests_, &orphan_count_, &ledger_.record_count,
        &ledger_.records_of_users, &ledger_.contended_granules})
    tally->begin_recount();
}

bool Server::check_piece(vmsrs_check_result* results) {
  using Part = CheckCursor::Part;
  switch (check_.part) {
    case Part::kSlots:
      if (check_slots(results)) check_ = {Part::kRecords, 0};
      return true;
    case Part::kRecords:
      if (check_records(results)) check_ = {Part::kHeads, 0};
      return true;
    case Part::kHeads:
      if (check_heads(results)) check_ = {Part::kTotals, 0};
      return true;
    case Part::kTotals:
      check_totals(results);
      check_ = {Part::kDone, 0};
      return false;
    case Part::kDone:
      return false;
  }
  return false;
}

bool Server::check_slots(vmsrs_check_result* results) {
  for (std::uint32_t i = 0; i < kSlotsOfPiece && check_.at < VMSRS_MAX_USERS; ++i, ++check_.at) {
    const auto slot = static_cast<Slot>(check_.at);
    check_user(slot, results[VMSRS_CHECK_USERS]);
    check_collected(slot, results[VMSRS_CHECK_COLLECTED]);
    check_window(slot, results[VMSRS_CHECK_WINDOWS]);
    recount_slot(slot);
  }
  return check_.at == VMSRS_MAX_USERS;
}

void Server::recount_slot(Slot slot) {
  const User& user = ledger_.users[slot];
  const std::uint64_t end = slot + 1u;
  ledger_.users.pass(slot);
  crashed_count_.pass(end, user.crashed());
  stuck_count_.pass(end, user.state == VMSRS_USER_STUCK);
  collect_requests_.pass(end, user.collect_requested);
  orphan_count_.pass(end, user.orphan);
  ledger_.records_of_users.pass(end, user.record_count);
}

// The first page from this one on that is neither a mirror's nor a directory's.
std::uint32_t Server::past_regions(std::uint32_t page) const {
  for (const Region& region : ledger_.regions) {
    if (region.state == Region::State::kNone) continue;
    if (page - region.mirror_page < region.mirror_pages)
      return past_regions(region.mirror_page + region.mirror_pages);
    if (region.heads.has_directory_page(page)) return past_regions(region.heads.end_of_directory());
  }
  return page;
}

// Nothing: it is no page of heads.
const Heads* Server::heads_with(std::uint32_t page) const {
  for (const Region& region : ledger_.regions)
    if (region.state != Region::State::kNone && region.heads.has_page(page)) return &region.heads;
  return nullptr;
}

bool Server::check_records(vmsrs_check_result* results) {
  auto page = static_cast<std::uint32_t>(check_.at);
  for (std::uint32_t i = 0; i < kRecordPagesOfPiece; ++i) {
    page = past_regions(page);
    if (!pool_->find_owned(owner_of(index_), page, PagePool::kPagesOfPiece)) break;
    if (page == past_regions(page)) check_record_page(page++, results);
  }
  ledger_.record_count.pass(RecordSlab::first_of(page), 0);
  check_.at = page;
  return page == pool_->page_count();
}

void Server::check_record_page(std::uint32_t page, vmsrs_check_result* results) {
  const RecordSlab& slab = ledger_.slab;
  if (const Heads* const heads = heads_with(page)) {
    ++results[VMSRS_CHECK_STORAGE].examined_count;
    if (!heads->sound_page(page)) violated(results[VMSRS_CHECK_STORAGE], index_, page);
    return;
  }
  slab.check(page, results[VMSRS_CHECK_STORAGE], index_);
  if (!slab.holds_records(page)) return;
  std::uint64_t records = 0;
  slab.for_each(page, [&](RecordId id, const Record& record) {
    ++records;
    check_link(id, record, results[VMSRS_CHECK_CHAINS]);
    check_writer(record, results[VMSRS_CHECK_USERS]);
    check_collected(record, results[VMSRS_CHECK_COLLECTED]);
  });
  ledger_.record_count.pass(RecordSlab::first_of(page + 1), records);
}

bool Server::check_heads(vmsrs_check_result* results) {
  constexpr std::uint64_t kEnd = Ledger::place_of(VMSRS_MAX_REGIONS, 0);
  auto index = static_cast<std::uint32_t>(check_.at >> 32);
  auto granule = static_cast<std::uint32_t>(check_.at);
  const Region& region = ledger_.regions[index];
  std::uint32_t looked = 0, occupied = 0;
  std::uint64_t contended = 0;
  for (; granule < region.filled_granules(); ++granule) {
    if (looked++ == kHeadsOfPiece || occupied == kOccupiedHeadsOfPiece) break;
    if (const std::uint64_t next = region.heads.skip_from(granule); next != granule) {
      const std::uint64_t end = region.filled_granules();
      granule = static_cast<std::uint32_t>((next < end ? next : end) - 1);
      continue;
    }
    ++results[VMSRS_CHECK_CHAINS].examined_count;
    if (region.heads[granule] == kNoRecord) continue;
    ++occupied;
    if (check_head(region, granule, results[VMSRS_CHECK_CHAINS]))
      contended += ledger_.contended(region, granule);
  }
  const bool through = granule >= region.filled_granules();
  check_.at = through ? Ledger::place_of(index + 1, 0) : Ledger::place_of(index, granule);
  ledger_.contended_granules.pass(check_.at, contended);
  return check_.at == kEnd;
}

void Server::check_totals(vmsrs_check_result* results) const {
  check_unprotected(results[VMSRS_CHECK_STORAGE]);
  check_mode(results[VMSRS_CHECK_USERS]);
  check_accounting(results[VMSRS_CHECK_ACCOUNTING]);
  check_status_page(results[VMSRS_CHECK_WINDOWS]);
}

}  // namespace vmsrs::recovery
