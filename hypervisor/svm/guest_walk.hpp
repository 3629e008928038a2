// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "recovery/guest_memory.hpp"
#include "svm/address.hpp"

namespace vmsrs::svm {

// What of the guest's paging state a walk needs.
struct PagingState {
  std::uint64_t cr0, cr3, cr4, efer;
};

enum class Privilege { kUser, kSupervisor };

struct Walk {
  recovery::MemoryResult result = recovery::MemoryResult::kBadAddress;
  HostPhysical address{};  // of the byte asked for
};

// Walks the guest's page tables for one byte (APM vol. 2, 5.3): 4 and 5 levels; U and W are looked
// at on every level for kUser. Every frame on the way, tables included, must be memory that the
// guest owns. For a write, A and D of the leaf are set atomically, so that Linux never throws away
// a page that was written from below.
Walk walk_guest(const PagingState& paging, GuestVirtual address, recovery::Access access,
                Privilege privilege);

// The memory of the thread that made the current hypercall. Translations found by one call of
// prepare(), read() or write() are good until the hypercall ends: Linux must wait for this CPU's
// answer to a TLB shoot-down before it can use the frame otherwise.
class CallerMemory final : public recovery::GuestMemory {
 public:
  void begin_call(const PagingState& paging);

  recovery::MemoryOutcome prepare(GuestVirtual address, std::size_t bytes,
                                  recovery::Access access) override;
  recovery::MemoryOutcome read(GuestVirtual address, void* to, std::size_t bytes) override;
  recovery::MemoryOutcome write(GuestVirtual address, const void* from, std::size_t bytes) override;
  recovery::MemoryOutcome map(GuestVirtual address, std::size_t bytes, recovery::Access access,
                              std::uint8_t*& at) override;
  std::size_t mapped_pages() const override { return kTranslations; }
  recovery::MemoryOutcome compare(GuestVirtual address, const void* with, std::size_t bytes,
                                  std::size_t& same) override;

 private:
  struct Translation {
    std::uint64_t page;  // of the virtual address; valid if call equals call_
    std::uint64_t frame;
    std::uint64_t call;
    bool writable;
  };
  static constexpr std::size_t kTranslations = 256;

  Translation* find(std::uint64_t page);
  recovery::MemoryResult translate(std::uint64_t page, recovery::Access access,
                                   std::uint8_t*& frame);

  PagingState paging_{};
  std::uint64_t call_ = 0;
  Translation translations_[kTranslations]{};
};

}  // namespace vmsrs::svm
