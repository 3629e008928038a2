// SPDX-License-Identifier: Apache-2.0
#include "hosted/hosted_memory.hpp"

#include <cstring>
#include <utility>

#include "recovery/bytes.hpp"

namespace vmsrs::hosted {
namespace {

using recovery::GuestVirtual;
using recovery::MemoryOutcome;
using recovery::MemoryResult;

template <typename Word>
void put_word(std::byte* to, const std::byte* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  __atomic_store_n(reinterpret_cast<Word*>(to), word, __ATOMIC_RELAXED);
}
template <typename Word>
void get_word(std::byte* to, const std::byte* from) {
  const Word word = __atomic_load_n(reinterpret_cast<const Word*>(from), __ATOMIC_RELAXED);
  std::memcpy(to, &word, sizeof word);
}

constexpr std::size_t kLine = 64;
constexpr std::size_t kLinesAhead = 12;  // about what a processor fetches at a time

std::size_t step_at(const std::byte* shared, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(shared);
  std::size_t step = 8;
  while ((address & (step - 1)) != 0 || step > bytes) step /= 2;
  return step;
}

// Aligned words of the shared side are moved whole: a reader in the server sees no torn word. Its
// pages are mapped at page boundaries on both sides, so what is aligned there is aligned here.
template <bool kToShared>
void move(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (!kToShared)
    for (std::size_t line = 1; line < kLinesAhead && line * kLine < bytes; ++line)
      __builtin_prefetch(from + line * kLine);
  while (bytes > 0) {
    const std::size_t step = step_at(kToShared ? to : from, bytes);
    std::size_t run = step;
    if (step == 8) {
      for (run = 0; run + 8 <= bytes; run += 8) {
        // The lines are the other processor's: several are on their way at a time.
        if (!kToShared && run % kLine == 0) __builtin_prefetch(from + run + kLinesAhead * kLine);
        if constexpr (kToShared)
          put_word<std::uint64_t>(to + run, from + run);
        else
          get_word<std::uint64_t>(to + run, from + run);
      }
    } else if constexpr (kToShared) {
      if (step == 4) put_word<std::uint32_t>(to, from);
      if (step == 2) put_word<std::uint16_t>(to, from);
      if (step == 1) put_word<std::uint8_t>(to, from);
    } else {
      if (step == 4) get_word<std::uint32_t>(to, from);
      if (step == 2) get_word<std::uint16_t>(to, from);
      if (step == 1) get_word<std::uint8_t>(to, from);
    }
    to += run;
    from += run;
    bytes -= run;
  }
}

MemoryOutcome bad(GuestVirtual address) { return {MemoryResult::kBadAddress, address}; }

}  // namespace

std::byte* HostedMemory::translate(GuestVirtual address, std::size_t bytes) {
  const std::uint64_t at = recovery::value(address);
  if (std::byte* const found = recent_.find(at, bytes)) return found;
  if (std::byte* const found = payload_.find(at, bytes)) return found;
  for (const Piece& piece : pieces_) {
    if (std::byte* const found = piece.range.find(at, bytes)) {
      recent_ = piece.range;
      return found;
    }
  }
  return nullptr;
}

MemoryOutcome HostedMemory::prepare(GuestVirtual address, std::size_t bytes, recovery::Access) {
  return translate(address, bytes) != nullptr ? MemoryOutcome{} : bad(address);
}

MemoryOutcome HostedMemory::read(GuestVirtual address, void* to, std::size_t bytes) {
  const std::byte* const from = translate(address, bytes);
  if (from == nullptr) return bad(address);
  move<false>(static_cast<std::byte*>(to), from, bytes);
  return {};
}

MemoryOutcome HostedMemory::write(GuestVirtual address, const void* from, std::size_t bytes) {
  std::byte* const to = translate(address, bytes);
  if (to == nullptr) return bad(address);
  move<true>(to, static_cast<const std::byte*>(from), bytes);
  return {};
}

MemoryOutcome HostedMemory::map(GuestVirtual address, std::size_t bytes, recovery::Access,
                                std::uint8_t*& at) {
  at = reinterpret_cast<std::uint8_t*>(translate(address, bytes));
  return at != nullptr ? MemoryOutcome{} : bad(address);
}

MemoryOutcome HostedMemory::compare(GuestVirtual address, const void* with, std::size_t bytes,
                                    std::size_t& same) {
  const std::byte* const at = translate(address, bytes);
  if (at == nullptr) return bad(address);
  same = recovery::same_bytes(at, with, bytes);
  return {};
}

HostedMemory::Fit HostedMemory::fit(std::uint64_t address, std::uint64_t bytes) const {
  for (const Piece& piece : pieces_) {
    const Range& range = piece.range;
    if (range.find(address, bytes) != nullptr) return Fit::kThereAlready;
    if (address < range.address + range.bytes && range.address < address + bytes)
      return Fit::kOverlaps;
  }
  return Fit::kFree;
}

std::uint64_t HostedMemory::add(std::uint64_t address, std::shared_ptr<const RegionMemory> memory) {
  const Range range{address, memory->shared().bytes(), memory->shared().data()};
  pieces_.push_back({range, std::move(memory), ++given_});
  return given_;
}

bool HostedMemory::remove(std::uint64_t number) {
  recent_ = {};
  return std::erase_if(pieces_, [=](const Piece& piece) { return piece.number == number; }) > 0;
}

void HostedMemory::remove_all() {
  recent_ = {};
  pieces_.clear();
}

int HostedMemory::descriptor(std::uint64_t number) const {
  for (const Piece& piece : pieces_)
    if (piece.number == number) return piece.memory->shared().descriptor();
  return -1;
}

RegionPlaces::Place HostedMemory::place_of(std::uint64_t address, std::uint64_t bytes) const {
  for (const Piece& piece : pieces_)
    if (piece.range.find(address, bytes) != nullptr)
      return {piece.memory, address - piece.range.address};
  return {};
}

std::uint64_t HostedMemory::address_of(const RegionMemory& memory) const {
  for (const Piece& piece : pieces_)
    if (piece.memory.get() == &memory) return piece.range.address;
  return 0;
}

}  // namespace vmsrs::hosted
