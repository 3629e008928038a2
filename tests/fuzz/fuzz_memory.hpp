// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/claims.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "recovery/guest_memory.hpp"

namespace vmsrs::fuzz {

inline constexpr std::uint64_t kPageBytes = 4096;

// The memory of one address space: a few pages from kBase on, each an allocation of its own, so
// that AddressSanitizer sees an access that goes beyond what was asked for. Keeps the promises of
// GuestMemory and stops the program when the engine does not keep its own. A copy is
// another process's view of the same pages: there or not there on its own.
class FuzzMemory final : public recovery::GuestMemory {
 public:
  static constexpr std::uint64_t kBase = 0x10000000;
  static constexpr std::uint64_t kOwnPages = 18;  // more than the longest range of a call
  // Behind them the users' areas, which no plain store reaches by chance.
  static constexpr std::uint64_t kAreas = kBase + kOwnPages * kPageBytes;
  static constexpr std::uint64_t kPages =
      kOwnPages + VMSRS_MAX_USERS * VMSRS_MIN_USER_AREA_BYTES / kPageBytes;
  enum class State : std::uint8_t { kPresent, kReadOnly, kNotPresent, kForbidden };

  FuzzMemory();
  void clear();  // all zeroes, all present

  void set(std::uint64_t page, State state) { states_[page % kOwnPages] = state; }
  void touch(std::uint64_t address);
  void make_all_present() { states_.fill(State::kPresent); }
  // What a program does to its own memory; addresses wrap around within it.
  void store(std::uint64_t offset, const void* from, std::size_t bytes);
  std::uint8_t byte(std::uint64_t offset) const;
  // Of a T within one page, at an address.
  template <typename T>
  void put(std::uint64_t address, const T& value) {
    store(address - kBase, &value, sizeof value);
  }
  template <typename T>
  T load(std::uint64_t address) const {
    T value;
    std::memcpy(&value, page_at(address - kBase).bytes.data() + address % kPageBytes, sizeof value);
    return value;
  }

  // Has the engine changed anything since? It has no other way than write().
  void begin_call() { changed_ = false; }
  bool changed() const { return changed_; }

  recovery::MemoryOutcome prepare(recovery::GuestVirtual address, std::size_t bytes,
                                  recovery::Access access) override;
  recovery::MemoryOutcome read(recovery::GuestVirtual address, void* to,
                               std::size_t bytes) override;
  recovery::MemoryOutcome write(recovery::GuestVirtual address, const void* from,
                                std::size_t bytes) override;
  recovery::MemoryOutcome compare(recovery::GuestVirtual address, const void* with,
                                  std::size_t bytes, std::size_t& same) override;
  // What the engine does through the pointer is not seen by changed().
  recovery::MemoryOutcome map(recovery::GuestVirtual address, std::size_t bytes,
                              recovery::Access access, std::uint8_t*& at) override;
  std::size_t mapped_pages() const override { return 16; }

 private:
  struct Page {
    std::array<std::uint8_t, kPageBytes> bytes{};
    bool used = false;  // it may be other than zeroes
  };
  using Pages = std::array<std::unique_ptr<Page>, kPages>;

  Page& page_at(std::uint64_t offset) const { return *(*pages_)[offset / kPageBytes]; }
  // Calls visit(bytes in the page, offset in the range, count) page by page.
  template <typename Visit>
  void for_pieces(std::uint64_t address, std::size_t bytes, Visit visit) const;

  std::shared_ptr<Pages> pages_ = std::make_shared<Pages>();
  std::array<State, kPages> states_{};
  bool changed_ = false;
};

}  // namespace vmsrs::fuzz
