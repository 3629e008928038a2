// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <atomic>
#include <cstdint>

#include "svm/address.hpp"
#include "svm/iommu.hpp"
#include "svm/page_table.hpp"

namespace vmsrs::svm {

constexpr std::uint64_t kLocalApic = 0xfee00000;

// What every CPU must know of the machine. Filled on the boot CPU before any guest runs, constant
// afterwards but for the two counters.
struct Machine {
  static constexpr std::size_t kMaxRanges = 64;

  PhysicalRange image;    // the hypervisor itself
  PhysicalRange hidden;   // its page tables and stacks, then the recovery storage
  PhysicalRange windows;  // read-only for the guest
  PhysicalRange guest_memory[kMaxRanges];
  std::size_t guest_memory_count = 0;
  IommuList iommus;
  bool devices_confined = false;  // to what the nested tables map, by the IOMMUs
  PageTable nested;
  std::uint64_t host_cr3 = 0;
  void* msr_permissions = nullptr;
  void* io_permissions = nullptr;
  vmsrs_window* server_windows[VMSRS_MAX_SERVERS] = {};
  std::uint64_t tsc_per_ms = 1;

  std::atomic<std::uint64_t> hidden_access_count{0};
  std::atomic<std::uint64_t> window_write_count{0};

  // Does [begin, end) reach into what nobody but the hypervisor may touch?
  bool reaches_hidden(std::uint64_t begin, std::uint64_t end) const {
    for (const Iommu& iommu : iommus) {
      if (iommu.registers.overlaps(begin, end)) return true;
    }
    return image.overlaps(begin, end) || hidden.overlaps(begin, end);
  }
  bool is_hidden(std::uint64_t address) const { return reaches_hidden(address, address + 1); }
  // Plain memory of the guest: not hidden, not a window, not a device.
  bool owned_by_guest(GuestPhysical address) const {
    for (std::size_t i = 0; i < guest_memory_count; ++i) {
      if (guest_memory[i].contains(value(address))) return true;
    }
    return false;
  }
};

Machine& machine();

// Behind the last address that the tables reach on this processor: there is no use for memory
// above.
std::uint64_t mapped_end();

// Builds the nested tables: the whole physical address space at its own addresses, but for the
// hidden ranges (absent), the windows and the local APIC's page (read-only).
[[nodiscard]] bool build_nested_tables(PagePool& pool);
// Bytes of page tables that build_nested_tables and the host's tables need at most.
std::uint64_t page_table_bytes();
// The number of nested entries that let a guest, or a device, into hidden memory or write a window,
// and of IOMMUs that do not hold devices to these tables: zero.
vmsrs_check_result check_hidden();

}  // namespace vmsrs::svm
