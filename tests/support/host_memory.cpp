// SPDX-License-Identifier: Apache-2.0
#include "support/host_memory.hpp"

#include <vmsrs/abi.h>

#include <algorithm>

#include "recovery/bytes.hpp"

namespace vmsrs::test {
namespace {

using recovery::Access;
using recovery::GuestVirtual;
using recovery::MemoryOutcome;
using recovery::MemoryResult;

constexpr std::uint64_t kUserEnd = 1ull << 47;

template <typename Word>
void move_word(void* to, const void* from) {
  __atomic_store_n(static_cast<Word*>(to),
                   __atomic_load_n(static_cast<const Word*>(from), __ATOMIC_RELAXED),
                   __ATOMIC_RELAXED);
}

// Moves `bytes` so that naturally aligned words of the guest's side are moved whole. The private
// side may have any alignment.
void move_words(std::uint64_t guest, std::uint8_t* hidden, std::size_t bytes, bool to_guest) {
  while (bytes > 0) {
    std::size_t step = 8;
    while ((guest & (step - 1)) != 0 || step > bytes) step /= 2;
    alignas(8) std::uint8_t word[8];
    void* const address = reinterpret_cast<void*>(guest);
    if (to_guest) std::copy_n(hidden, step, word);
    void* const to = to_guest ? address : word;
    const void* const from = to_guest ? word : address;
    if (step == 8) move_word<std::uint64_t>(to, from);
    if (step == 4) move_word<std::uint32_t>(to, from);
    if (step == 2) move_word<std::uint16_t>(to, from);
    if (step == 1) move_word<std::uint8_t>(to, from);
    if (!to_guest) std::copy_n(word, step, hidden);
    guest += step;
    hidden += step;
    bytes -= step;
  }
}

}  // namespace

void HostMemory::add_range(const void* address, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uint64_t>(address);
  ranges_.push_back({begin, begin + bytes, Access::kWrite});
}

void HostMemory::forbid_range(const void* address, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uint64_t>(address);
  forbidden_.push_back({begin, begin + bytes, Access::kRead});
}

void HostMemory::set_page(const void* address, Page state) {
  pages_[reinterpret_cast<std::uint64_t>(address) / VMSRS_PAGE_BYTES] = state;
}

void HostMemory::touch(std::uint64_t address) { pages_.erase(address / VMSRS_PAGE_BYTES); }

void HostMemory::fail_at(std::uint64_t n, MemoryResult result) {
  fail_in_ = n;
  fail_result_ = result;
}

bool HostMemory::exists(std::uint64_t begin, std::uint64_t end) const {
  if (end < begin || end > kUserEnd) return false;
  for (const Range& range : forbidden_)
    if (range.begin < end && begin < range.end) return false;
  if (ranges_.empty()) return true;
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [=](const Range& r) { return r.begin <= begin && end <= r.end; });
}

bool HostMemory::was_prepared(std::uint64_t begin, std::uint64_t end, Access access) const {
  return std::any_of(prepared_.begin(), prepared_.end(), [=](const Range& r) {
    return r.begin <= begin && end <= r.end && (r.access == access || access == Access::kRead);
  });
}

MemoryOutcome HostMemory::examine(std::uint64_t begin, std::size_t bytes, Access access) {
  const std::uint64_t end = begin + bytes;
  if (was_prepared(begin, end, access)) return {};
  ++accesses_;
  if (!exists(begin, end)) return {MemoryResult::kBadAddress, GuestVirtual{begin}};
  if (fail_in_ > 0 && --fail_in_ == 0) return {fail_result_, GuestVirtual{begin}};
  if (pages_.empty()) return {};
  for (std::uint64_t page = begin / VMSRS_PAGE_BYTES; page * VMSRS_PAGE_BYTES < end; ++page) {
    const auto found = pages_.find(page);
    if (found == pages_.end() || found->second == Page::kPresent) continue;
    if (found->second == Page::kReadOnly && access == Access::kRead) continue;
    const bool forbidden = found->second == Page::kForbidden;
    return {forbidden ? MemoryResult::kBadAddress : MemoryResult::kTouch,
            GuestVirtual{std::max(begin, page * VMSRS_PAGE_BYTES)}};
  }
  return {};
}

MemoryOutcome HostMemory::prepare(GuestVirtual address, std::size_t bytes, Access access) {
  const std::uint64_t begin = recovery::value(address);
  const MemoryOutcome outcome = examine(begin, bytes, access);
  if (!outcome) return outcome;
  // A region's granules and their claims are prepared in turns, each beside the last one of its
  // kind.
  const auto beside = std::find_if(prepared_.rbegin(), prepared_.rend(), [=](const Range& r) {
    return r.end == begin && r.access == access;
  });
  if (beside != prepared_.rend())
    beside->end = begin + bytes;
  else
    prepared_.push_back({begin, begin + bytes, access});
  return outcome;
}

MemoryOutcome HostMemory::map(GuestVirtual address, std::size_t bytes, Access access,
                              std::uint8_t*& at) {
  const MemoryOutcome outcome = prepare(address, bytes, access);
  at = reinterpret_cast<std::uint8_t*>(recovery::value(address));
  return outcome;
}

MemoryOutcome HostMemory::read(GuestVirtual address, void* to, std::size_t bytes) {
  const std::uint64_t begin = recovery::value(address);
  const MemoryOutcome outcome = examine(begin, bytes, Access::kRead);
  if (outcome) move_words(begin, static_cast<std::uint8_t*>(to), bytes, false);
  return outcome;
}

MemoryOutcome HostMemory::write(GuestVirtual address, const void* from, std::size_t bytes) {
  const std::uint64_t begin = recovery::value(address);
  const MemoryOutcome outcome = examine(begin, bytes, Access::kWrite);
  if (outcome) {
    auto* const hidden = const_cast<std::uint8_t*>(static_cast<const std::uint8_t*>(from));
    move_words(begin, hidden, bytes, true);
  }
  return outcome;
}

MemoryOutcome HostMemory::compare(GuestVirtual address, const void* with, std::size_t bytes,
                                  std::size_t& same) {
  const std::uint64_t begin = recovery::value(address);
  const MemoryOutcome outcome = examine(begin, bytes, Access::kRead);
  if (!outcome) return outcome;
  const auto* const theirs = static_cast<const std::uint8_t*>(with);
  std::uint8_t mine[512];
  for (same = 0; same < bytes;) {
    const std::size_t block = std::min(bytes - same, sizeof mine);
    move_words(begin + same, mine, block, false);
    const std::size_t equal = recovery::same_bytes(mine, theirs + same, block);
    same += equal;
    if (equal < block) break;
  }
  return {};
}

}  // namespace vmsrs::test
