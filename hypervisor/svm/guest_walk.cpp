// SPDX-License-Identifier: Apache-2.0
#include "svm/guest_walk.hpp"

#include "recovery/bytes.hpp"
#include "svm/machine.hpp"
#include "svm/page_table.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

using recovery::Access;
using recovery::MemoryResult;

constexpr std::uint64_t kUserHalfEnd4 = std::uint64_t{1} << 47;
constexpr std::uint64_t kUserHalfEnd5 = std::uint64_t{1} << 56;

// Sets A, and D for a write, unless the entry has changed since it was read.
bool mark_used(std::uint64_t* entry, std::uint64_t seen, Access access) {
  const std::uint64_t wanted =
      seen | kPteAccessed | (access == Access::kWrite ? kPteDirty : std::uint64_t{0});
  if (wanted == seen) return true;
  return __atomic_compare_exchange_n(entry, &seen, wanted, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

Walk walk_once(const PagingState& paging, std::uint64_t address, Access access, Privilege privilege,
               bool& again) {
  again = false;
  const int levels = (paging.cr4 & x86::kCr4La57) != 0 ? 5 : 4;
  std::uint64_t table = paging.cr3 & kPteAddress;
  for (int level = levels; level >= 1; --level) {
    const int shift = 12 + 9 * (level - 1);
    const std::uint64_t entry_at = table + ((address >> shift) & 511) * 8;
    if (!machine().owned_by_guest(GuestPhysical{entry_at})) return {};
    auto* const entry = host_pointer<std::uint64_t>(HostPhysical{entry_at});
    const std::uint64_t seen = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
    if ((seen & kPtePresent) == 0) return {.result = MemoryResult::kTouch};
    if (privilege == Privilege::kUser) {
      if ((seen & kPteUser) == 0) return {};
      if (access == Access::kWrite && (seen & kPteWritable) == 0) {
        return {.result = MemoryResult::kTouch};
      }
    }
    const bool leaf = level == 1 || ((level == 2 || level == 3) && (seen & kPteLarge) != 0);
    if (leaf) {
      const std::uint64_t span = std::uint64_t{1} << shift;
      const std::uint64_t at = (align_down(seen & kPteAddress, span)) | (address & (span - 1));
      if (!machine().owned_by_guest(GuestPhysical{at})) return {};
      if (!mark_used(entry, seen, access)) {
        again = true;
        return {};
      }
      return {.result = MemoryResult::kOk, .address = HostPhysical{at}};
    }
    table = seen & kPteAddress;
  }
  return {};
}

}  // namespace

Walk walk_guest(const PagingState& paging, GuestVirtual address, Access access,
                Privilege privilege) {
  const std::uint64_t at = value(address);
  constexpr std::uint64_t kLongPaging = x86::kEferLma;
  if ((paging.efer & kLongPaging) == 0 || (paging.cr0 & x86::kCr0Pg) == 0) return {};
  const std::uint64_t half_end = (paging.cr4 & x86::kCr4La57) != 0 ? kUserHalfEnd5 : kUserHalfEnd4;
  const bool upper_half = at >= ~(half_end - 1);
  if (at >= half_end && !(privilege == Privilege::kSupervisor && upper_half)) return {};
  // Another CPU may change the entry under us; that settles in a few rounds, or the guest is
  // playing with us and gets its page refused.
  for (int round = 0; round < 16; ++round) {
    bool again = false;
    const Walk walk = walk_once(paging, at, access, privilege, again);
    if (!again) return walk;
  }
  return {.result = MemoryResult::kTouch};
}

void CallerMemory::begin_call(const PagingState& paging) {
  paging_ = paging;
  ++call_;
}

CallerMemory::Translation* CallerMemory::find(std::uint64_t page) {
  // Open addressing; entries of earlier calls count as empty. A call that touches more pages than
  // there is room for walks some of them again at each use. Homes are by the golden ratio, for what
  // lies in several runs of pages: regions, their claims, areas.
  static_assert(kTranslations == 1u << 8);
  const std::size_t home = (page * 0x9e3779b97f4a7c15ull) >> (64 - 8);
  for (std::size_t i = 0; i < kTranslations; ++i) {
    Translation& at = translations_[(home + i) % kTranslations];
    if (at.call != call_ || at.page == page) return &at;
  }
  return &translations_[home];
}

MemoryResult CallerMemory::translate(std::uint64_t page, Access access, std::uint8_t*& frame) {
  Translation* const known = find(page);
  const bool hit = known->call == call_ && known->page == page;
  if (!hit || (access == Access::kWrite && !known->writable)) {
    const Walk walk = walk_guest(paging_, GuestVirtual{page * kPage}, access, Privilege::kUser);
    if (walk.result != MemoryResult::kOk) return walk.result;
    *known = {page, value(walk.address), call_, access == Access::kWrite};
  }
  frame = host_pointer<std::uint8_t>(HostPhysical{known->frame});
  return MemoryResult::kOk;
}

recovery::MemoryOutcome CallerMemory::prepare(GuestVirtual address, std::size_t bytes,
                                              Access access) {
  const std::uint64_t begin = value(address);
  if (bytes == 0) return {};
  if (begin + bytes < begin) return {MemoryResult::kBadAddress, address};
  for (std::uint64_t page = begin / kPage; page <= (begin + bytes - 1) / kPage; ++page) {
    std::uint8_t* frame = nullptr;
    const MemoryResult result = translate(page, access, frame);
    if (result != MemoryResult::kOk) {
      const std::uint64_t where = page * kPage > begin ? page * kPage : begin;
      return {result, GuestVirtual{where}};
    }
  }
  return {};
}

recovery::MemoryOutcome CallerMemory::map(GuestVirtual address, std::size_t, Access access,
                                          std::uint8_t*& at) {
  std::uint8_t* frame = nullptr;
  const MemoryResult result = translate(value(address) / kPage, access, frame);
  if (result != MemoryResult::kOk) return {result, address};
  at = frame + (value(address) & kPageMask);
  return {};
}

namespace {

// One load and one store, so that a plain reader on another CPU never sees a torn word.
template <class Word>
void move_word(std::uint8_t* to, const std::uint8_t* from, bool guest_is_target) {
  Word word;
  if (guest_is_target) {
    __builtin_memcpy(&word, from, sizeof(Word));
    __atomic_store_n(reinterpret_cast<Word*>(to), word, __ATOMIC_RELAXED);
  } else {
    word = __atomic_load_n(reinterpret_cast<const Word*>(from), __ATOMIC_RELAXED);
    __builtin_memcpy(to, &word, sizeof(Word));
  }
}

// Within one page. Alignment counts on the guest's side only: there a reader may look.
void move(std::uint8_t* to, const std::uint8_t* from, std::size_t bytes, bool guest_is_target) {
  while (bytes > 0) {
    const auto at = reinterpret_cast<std::uintptr_t>(guest_is_target ? to : from);
    std::size_t step = 1;
    if (bytes >= 8 && at % 8 == 0) {
      step = 8;
      move_word<std::uint64_t>(to, from, guest_is_target);
    } else if (bytes >= 4 && at % 4 == 0) {
      step = 4;
      move_word<std::uint32_t>(to, from, guest_is_target);
    } else if (bytes >= 2 && at % 2 == 0) {
      step = 2;
      move_word<std::uint16_t>(to, from, guest_is_target);
    } else {
      move_word<std::uint8_t>(to, from, guest_is_target);
    }
    to += step;
    from += step;
    bytes -= step;
  }
}

}  // namespace

recovery::MemoryOutcome CallerMemory::read(GuestVirtual address, void* to, std::size_t bytes) {
  if (const auto outcome = prepare(address, bytes, Access::kRead); !outcome) return outcome;
  auto* target = static_cast<std::uint8_t*>(to);
  for (std::uint64_t at = value(address), end = at + bytes; at < end;) {
    const std::uint64_t next = align_down(at, kPage) + kPage;
    const std::size_t run = (next < end ? next : end) - at;
    std::uint8_t* frame = nullptr;
    const MemoryResult result = translate(at / kPage, Access::kRead, frame);
    if (result != MemoryResult::kOk) return {result, GuestVirtual{at}};
    move(target, frame + (at & kPageMask), run, false);
    target += run;
    at += run;
  }
  return {};
}

recovery::MemoryOutcome CallerMemory::write(GuestVirtual address, const void* from,
                                            std::size_t bytes) {
  if (const auto outcome = prepare(address, bytes, Access::kWrite); !outcome) return outcome;
  const auto* source = static_cast<const std::uint8_t*>(from);
  for (std::uint64_t at = value(address), end = at + bytes; at < end;) {
    const std::uint64_t next = align_down(at, kPage) + kPage;
    const std::size_t run = (next < end ? next : end) - at;
    std::uint8_t* frame = nullptr;
    const MemoryResult result = translate(at / kPage, Access::kWrite, frame);
    if (result != MemoryResult::kOk) return {result, GuestVirtual{at}};
    move(frame + (at & kPageMask), source, run, true);
    source += run;
    at += run;
  }
  return {};
}

recovery::MemoryOutcome CallerMemory::compare(GuestVirtual address, const void* with,
                                              std::size_t bytes, std::size_t& same) {
  if (const auto outcome = prepare(address, bytes, Access::kRead); !outcome) return outcome;
  const auto* const other = static_cast<const std::uint8_t*>(with);
  const std::uint64_t begin = value(address);
  for (same = 0; same < bytes;) {
    const std::uint64_t at = begin + same;
    const std::size_t left = bytes - same;
    const std::size_t run = kPage - (at & kPageMask) < left ? kPage - (at & kPageMask) : left;
    std::uint8_t* frame = nullptr;
    const MemoryResult result = translate(at / kPage, Access::kRead, frame);
    if (result != MemoryResult::kOk) return {result, GuestVirtual{at}};
    const std::size_t equal = recovery::same_bytes(frame + (at & kPageMask), other + same, run);
    same += equal;
    if (equal < run) break;
  }
  return {};
}

}  // namespace vmsrs::svm
