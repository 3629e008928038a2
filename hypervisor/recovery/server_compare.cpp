// SPDX-License-Identifier: Apache-2.0
#include "recovery/server.hpp"
#include "recovery/verdict.hpp"

// Comparing regions with their mirrors needs the server's memory, so a thread of the server lends
// its address space for it, piece by piece (SERVICE). Only looks: where they differ while nobody
// owns the granule, something was changed behind the library's back, and that is reported.
namespace vmsrs::recovery {
namespace {

constexpr std::uint64_t kPieceBytes = VMSRS_MAX_RANGE_BYTES;

}  // namespace

void Server::request_comparison() {
  comparison_ = Comparison{};
  if (!attached_) return;
  for (const Region& region : ledger_.regions)
    if (region.state == Region::State::kLive) comparison_.wanted = true;
  if (comparison_.wanted) call_for_service();
}

void Server::report_comparison(vmsrs_check_result& result) {
  const Comparison& mine = comparison_;
  result.examined_count += mine.result.examined_count;
  if (mine.result.violation_count > 0) {
    violated(result, index_, mine.result.detail);
    result.violation_count += mine.result.violation_count - 1;
  }
  if (mine.wanted) {
    result.verdict = VMSRS_VERDICT_PENDING;
    call_for_service();
  } else if (mine.unreadable && result.verdict == VMSRS_VERDICT_OK) {
    result.verdict = VMSRS_VERDICT_UNVERIFIED;
  }
}

Reply Server::compare_piece(GuestMemory& memory) {
  for (; comparison_.region < VMSRS_MAX_REGIONS; ++comparison_.region, comparison_.offset = 0) {
    const Region& region = ledger_.regions[comparison_.region];
    if (region.state != Region::State::kLive || comparison_.offset >= region.bytes) continue;
    const std::uint64_t left = region.bytes - comparison_.offset;
    const std::uint64_t bytes = left < kPieceBytes ? left : kPieceBytes;
    const auto outcome =
        memory.read(GuestVirtual{region.address + comparison_.offset}, staging_, bytes);
    if (outcome.result == MemoryResult::kTouch) return reply_for(outcome);
    if (outcome)
      compare_granules(region, bytes);
    else
      comparison_.unreadable = true;
    comparison_.offset += bytes;
    return VMSRS_AGAIN;
  }
  comparison_.wanted = false;
  return VMSRS_OK;
}

void Server::compare_granules(const Region& region, std::uint64_t bytes) {
  const std::uint32_t size = region.granule_bytes();
  for (std::uint64_t at = 0; at < bytes; at += size) {
    const auto granule =
        static_cast<std::uint32_t>((comparison_.offset + at) >> region.granule_shift);
    ++comparison_.result.examined_count;
    if (region.heads[granule] != kNoRecord) continue;
    if (equal_bytes(staging_ + at, region.mirror_of(granule), size)) continue;
    violated(comparison_.result, index_, comparison_.offset + at);
  }
}

}  // namespace vmsrs::recovery
