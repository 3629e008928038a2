// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmsrs::recovery {

// An address in the caller's address space.
enum class GuestVirtual : std::uint64_t {};

constexpr std::uint64_t value(GuestVirtual address) { return static_cast<std::uint64_t>(address); }

enum class Access { kRead, kWrite };

enum class MemoryResult {
  kOk,
  kTouch,       // not present, or not writable yet (copy on write): the caller touches and repeats
  kBadAddress,  // non-canonical, kernel half, no user access, hidden memory, not RAM
};

struct MemoryOutcome {
  MemoryResult result = MemoryResult::kOk;
  GuestVirtual where{};  // first address that failed
  explicit operator bool() const { return result == MemoryResult::kOk; }
};

// The memory of the thread that made the current hypercall, reached through its own page tables
// with their user and write permissions, walked afresh; nothing of a walk outlives the hypercall
// (translations move once the hypercall has ended). Used by one CPU at a time.
class GuestMemory {
 public:
  // May every byte of [address, address + bytes) be accessed so? After kOk, a read or write of the
  // same range within the same hypercall succeeds: prepare may fail, commit may not.
  virtual MemoryOutcome prepare(GuestVirtual address, std::size_t bytes, Access access) = 0;

  // Naturally aligned runs of 8, 4 and 2 bytes are moved by one load or store each, so that a plain
  // reader on another CPU never sees a torn word. A range that fails has changed nothing.
  virtual MemoryOutcome read(GuestVirtual address, void* to, std::size_t bytes) = 0;
  virtual MemoryOutcome write(GuestVirtual address, const void* from, std::size_t bytes) = 0;

  // The bytes themselves, for atomic accesses: [address, address + bytes) may not cross a page. The
  // pointer is good until the hypercall ends, as long as no more than mapped_pages() different
  // pages are used in it.
  virtual MemoryOutcome map(GuestVirtual address, std::size_t bytes, Access access,
                            std::uint8_t*& at) = 0;
  virtual std::size_t mapped_pages() const = 0;
  // `same` becomes the count of leading bytes that equal those at `with`: `bytes` if all do. Looks
  // at the memory where it lies.
  virtual MemoryOutcome compare(GuestVirtual address, const void* with, std::size_t bytes,
                                std::size_t& same) = 0;

 protected:
  ~GuestMemory() = default;
};

}  // namespace vmsrs::recovery
