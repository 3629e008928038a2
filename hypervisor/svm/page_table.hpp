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

  // Calls visit(virtual_begin, bytes, entry) for every present leaf.
  template <class Visitor>
  void for_each_leaf(Visitor&& visit) const {
    walk(root_, 4, 0, visit);
  }

 private:
  bool set_level(std::uint64_t* table, int level, std::uint64_t begin, std::uint64_t end,
                 std::uint64_t flags, std::uint64_t offset);
  std::uint64_t* child(std::uint64_t& entry, int level);

  template <class Visitor>
  static void walk(const std::uint64_t* table, int level, std::uint64_t base, Visitor& visit) {
    const std::uint64_t span = kPage << (9 * (level - 1));
    for (std::uint64_t i = 0; i < 512; ++i) {
      const std::uint64_t entry = table[i];
      if ((entry & kPtePresent) == 0) continue;
      if (level == 1 || (entry & kPteLarge) != 0) {
        visit(base + i * span, span, entry);
      } else {
        walk(reinterpret_cast<const std::uint64_t*>(entry & kPteAddress), level - 1,
             base + i * span, visit);
      }
    }
  }

  PagePool* pool_ = nullptr;
  std::uint64_t* root_ = nullptr;
  bool huge_ = false;
};

}  // namespace vmsrs::svm
