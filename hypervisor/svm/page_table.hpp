// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "svm/address.hpp"
#include "svm/page_pool.hpp"

namespace vmsrs::svm {

// Page-table entry bits, the same in host, guest and nested tables (APM vol. 2, 5.3 and 15.25.5).
constexpr std::uint64_t kPtePresent = 1u << 0;
constexpr std::uint64_t kPteWritable = 1u << 1;
constexpr std::uint64_t kPteUser = 1u << 2;
constexpr std::uint64_t kPteUncached = 0x18;  // PCD, PWT
constexpr std::uint64_t kPteAccessed = 1u << 5;
constexpr std::uint64_t kPteDirty = 1u << 6;
constexpr std::uint64_t kPteLarge = 1u << 7;
constexpr std::uint64_t kPteAddress = 0x000ffffffffff000;
constexpr std::uint64_t kPteNoExecute = std::uint64_t{1} << 63;

// What an IOMMU reads in bits that a processor leaves alone (48882, 2.2.3): the level of the table
// below, none for a leaf, and what devices may do.
constexpr unsigned kPteNextLevelShift = 9;
constexpr std::uint64_t kPteDeviceReads = std::uint64_t{1} << 61;
constexpr std::uint64_t kPteDeviceWrites = std::uint64_t{1} << 62;

// Nested tables are walked as user accesses (APM vol. 2, 15.25.5), so all their entries carry U. An
// IOMMU walks them too.
constexpr std::uint64_t kHostFlags = kPtePresent | kPteWritable | kPteAccessed | kPteDirty;
// The hypervisor's own pages, none both writable and executable. What is the guest's is a user's
// page here, so that the processor refuses it but where GuestAccess says that it is meant (SMAP,
// SMEP).
constexpr std::uint64_t kHostCode = kHostFlags & ~kPteWritable;
constexpr std::uint64_t kHostData = kHostFlags | kPteNoExecute;
constexpr std::uint64_t kHostConstants = kHostCode | kPteNoExecute;
constexpr std::uint64_t kHostGuest = kHostData | kPteUser;
constexpr std::uint64_t kNestedFlags = kHostFlags | kPteUser | kPteDeviceReads | kPteDeviceWrites;
constexpr std::uint64_t kNestedReadOnlyFlags = kNestedFlags & ~(kPteWritable | kPteDeviceWrites);
constexpr std::uint64_t kAbsent = 0;

// A four-level table that maps with the largest leaves that fit and splits them where a later call
// needs finer ones. Serves for the host's own map and for the nested one. Boot CPU only: once other
// CPUs use a table it does not change any more, hence no TLB shoot-down anywhere.
class PageTable {
 public:
  // False if the pool is used up. `huge`: may use 1 GiB leaves (CPUID Fn8000_0001 EDX[26]).
  [[nodiscard]] bool initialise(PagePool& pool, bool huge);
  // Maps [begin, end) to the same addresses plus `offset`, with `flags`; kAbsent unmaps.
  [[nodiscard]] bool set(std::uint64_t begin, std::uint64_t end, std::uint64_t flags,
                         std::uint64_t offset = 0);
  HostPhysical root() const { return host_physical(root_); }

  // Calls visit(virtual_begin, bytes, entry) for each present leaf from the address `at` on, of
  // `most` entries at most. True: there is more, from `at` on.
  template <class Visitor>
  bool visit_leaves(std::uint64_t& at, std::uint32_t most, Visitor&& visit) const {
    constexpr std::uint64_t kEnd = kPage << (9 * 4);  // that four levels reach
    for (; most > 0 && at < kEnd; --most) {
      const std::uint64_t* table = root_;
      std::uint64_t span = kEnd / 512;
      std::uint64_t entry = table[at / span];
      while ((entry & kPtePresent) != 0 && (entry & kPteLarge) == 0 && span > kPage) {
        table = reinterpret_cast<const std::uint64_t*>(entry & kPteAddress);
        span /= 512;
        entry = table[at / span % 512];
      }
      const std::uint64_t begin = align_down(at, span);
      if ((entry & kPtePresent) != 0) visit(begin, span, entry);
      at = begin + span;
    }
    return at < kEnd;
  }
  // All of them.
  template <class Visitor>
  void for_each_leaf(Visitor&& visit) const {
    for (std::uint64_t at = 0; visit_leaves(at, 512, visit);) {
    }
  }

 private:
  bool set_level(std::uint64_t* table, int level, std::uint64_t begin, std::uint64_t end,
                 std::uint64_t flags, std::uint64_t offset);
  std::uint64_t* child(std::uint64_t& entry, int level);

  PagePool* pool_ = nullptr;
  std::uint64_t* root_ = nullptr;
  bool huge_ = false;
};

}  // namespace vmsrs::svm
