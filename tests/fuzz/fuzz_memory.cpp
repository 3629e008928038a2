// SPDX-License-Identifier: Apache-2.0
#include "fuzz_memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "recovery/bytes.hpp"

namespace vmsrs::fuzz {

using recovery::Access;
using recovery::GuestVirtual;
using recovery::MemoryOutcome;
using recovery::MemoryResult;

FuzzMemory::FuzzMemory() {
  for (auto& page : *pages_) page = std::make_unique<Page>();
}

void FuzzMemory::clear() {
  for (auto& page : *pages_)
    if (page->used) *page = {};
  make_all_present();
}

template <typename Visit>
void FuzzMemory::for_pieces(std::uint64_t address, std::size_t bytes, Visit visit) const {
  for (std::size_t done = 0; done < bytes;) {
    const std::uint64_t at = address - kBase + done;
    const std::size_t in_page = at % kPageBytes;
    const std::size_t count = std::min<std::size_t>(bytes - done, kPageBytes - in_page);
    visit(page_at(at), in_page, done, count);
    done += count;
  }
}

MemoryOutcome FuzzMemory::prepare(GuestVirtual address, std::size_t bytes, Access access) {
  const std::uint64_t begin = recovery::value(address);
  const std::uint64_t end = begin + bytes;
  if (begin < kBase || end < begin || end > kBase + kPages * kPageBytes)
    return {MemoryResult::kBadAddress, address};
  for (std::uint64_t page = (begin - kBase) / kPageBytes; kBase + page * kPageBytes < end; ++page) {
    const State state = states_[page];
    if (state == State::kPresent) continue;
    if (state == State::kReadOnly && access == Access::kRead) continue;
    return {state == State::kForbidden ? MemoryResult::kBadAddress : MemoryResult::kTouch,
            GuestVirtual{std::max(begin, kBase + page * kPageBytes)}};
  }
  return {};
}

MemoryOutcome FuzzMemory::map(GuestVirtual address, std::size_t bytes, Access access,
                              std::uint8_t*& at) {
  const MemoryOutcome outcome = prepare(address, bytes, access);
  if (!outcome) return outcome;
  const std::uint64_t offset = recovery::value(address) - kBase;
  if (offset % kPageBytes + bytes > kPageBytes) std::abort();  // it may not cross a page
  Page& page = page_at(offset);
  page.used |= access == Access::kWrite;
  at = page.bytes.data() + offset % kPageBytes;
  return {};
}

MemoryOutcome FuzzMemory::read(GuestVirtual address, void* to, std::size_t bytes) {
  const MemoryOutcome outcome = prepare(address, bytes, Access::kRead);
  if (!outcome) return outcome;
  auto* const target = static_cast<std::uint8_t*>(to);
  for_pieces(recovery::value(address), bytes,
             [&](const Page& page, std::size_t in_page, std::size_t at, std::size_t count) {
               std::memcpy(target + at, page.bytes.data() + in_page, count);
             });
  return {};
}

MemoryOutcome FuzzMemory::write(GuestVirtual address, const void* from, std::size_t bytes) {
  const MemoryOutcome outcome = prepare(address, bytes, Access::kWrite);
  if (!outcome) return outcome;
  const auto* const source = static_cast<const std::uint8_t*>(from);
  for_pieces(recovery::value(address), bytes,
             [&](Page& page, std::size_t in_page, std::size_t at, std::size_t count) {
               std::uint8_t* const piece = page.bytes.data() + in_page;
               changed_ |= std::memcmp(piece, source + at, count) != 0;
               page.used = true;
               std::memcpy(piece, source + at, count);
             });
  return {};
}

MemoryOutcome FuzzMemory::compare(GuestVirtual address, const void* with, std::size_t bytes,
                                  std::size_t& same) {
  const MemoryOutcome outcome = prepare(address, bytes, Access::kRead);
  if (!outcome) return outcome;
  const auto* const other = static_cast<const std::uint8_t*>(with);
  same = 0;
  for_pieces(recovery::value(address), bytes,
             [&](const Page& page, std::size_t in_page, std::size_t at, std::size_t count) {
               if (same == at)
                 same += recovery::same_bytes(page.bytes.data() + in_page, other + at, count);
             });
  return {};
}

void FuzzMemory::touch(std::uint64_t address) {
  if (address - kBase < kPages * kPageBytes)
    states_[(address - kBase) / kPageBytes] = State::kPresent;
}

void FuzzMemory::store(std::uint64_t offset, const void* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::uint64_t at = (offset + i) % (kPages * kPageBytes);
    Page& page = page_at(at);
    page.used = true;
    page.bytes[at % kPageBytes] = static_cast<const std::uint8_t*>(from)[i];
  }
}

std::uint8_t FuzzMemory::byte(std::uint64_t offset) const {
  return page_at(offset).bytes[offset % kPageBytes];
}

}  // namespace vmsrs::fuzz
