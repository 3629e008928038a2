// SPDX-License-Identifier: Apache-2.0
#include "svm/page_table.hpp"

namespace vmsrs::svm {
namespace {

constexpr std::uint64_t span_of(int level) { return kPage << (9 * (level - 1)); }

}  // namespace

bool PageTable::initialise(PagePool& pool, bool huge) {
  pool_ = &pool;
  huge_ = huge;
  root_ = static_cast<std::uint64_t*>(pool.take(kPage));
  return root_ != nullptr;
}

bool PageTable::set(std::uint64_t begin, std::uint64_t end, std::uint64_t flags,
                    std::uint64_t offset) {
  return set_level(root_, 4, align_down(begin, kPage), align_up(end, kPage), flags, offset);
}

bool PageTable::set_level(std::uint64_t* table, int level, std::uint64_t begin, std::uint64_t end,
                          std::uint64_t flags, std::uint64_t offset) {
  const std::uint64_t span = span_of(level);
  for (std::uint64_t at = begin; at < end;) {
    std::uint64_t& entry = table[(at / span) % 512];
    const std::uint64_t next = align_down(at, span) + span;
    const std::uint64_t stop = next < end ? next : end;
    const bool whole = stop - at == span && (offset & (span - 1)) == 0;
    const bool leaf_allowed = level == 1 || level == 2 || (level == 3 && huge_);
    if (whole && leaf_allowed) {
      const std::uint64_t large = level > 1 ? kPteLarge : 0;
      entry = flags == kAbsent ? 0 : ((at + offset) | flags | large);
    } else if (flags != kAbsent || (entry & kPtePresent) != 0) {
      std::uint64_t* const lower = child(entry, level);
      if (lower == nullptr || !set_level(lower, level - 1, at, stop, flags, offset)) return false;
    }
    at = stop;
  }
  return true;
}

// The table below an entry: made where there is none, or by splitting a large leaf.
std::uint64_t* PageTable::child(std::uint64_t& entry, int level) {
  const bool present = (entry & kPtePresent) != 0;
  if (present && (entry & kPteLarge) == 0) {
    return reinterpret_cast<std::uint64_t*>(entry & kPteAddress);
  }
  auto* const table = static_cast<std::uint64_t*>(pool_->take(kPage));
  if (table == nullptr) return nullptr;
  if (present) {
    const std::uint64_t span = span_of(level - 1);
    const std::uint64_t keep = level - 1 == 1 ? entry & ~kPteLarge : entry;
    for (std::uint64_t i = 0; i < 512; ++i) table[i] = keep + i * span;
  }
  // Upper levels allow everything, the leaf decides.
  const auto below = static_cast<std::uint64_t>(level - 1) << kPteNextLevelShift;
  entry = reinterpret_cast<std::uint64_t>(table) | kNestedFlags | below;
  return table;
}

}  // namespace vmsrs::svm
