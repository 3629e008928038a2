// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <atomic>
#include <cstdint>

#include "svm/address.hpp"
#include "svm/iommu.hpp"
#include "svm/page_table.hpp"
#include "svm/power_ports.hpp"

namespace vmsrs::svm {

constexpr std::uint64_t kLocalApic = 0xfee00000;
// A device's interrupt message is a write to this range. A processor's own store there may become
// one, too (in QEMU it does), so processors reach the local APIC's page only.
constexpr std::uint64_t kMessagesEnd = kLocalApic + 0x100000;

// What every CPU must know of the machine. Filled on the boot CPU before any guest runs, constant
// afterwards but for the two counters.
struct Machine {
  static constexpr std::size_t kMaxRanges = 64;

  PhysicalRange image;              // the hypervisor itself
  PhysicalRange hidden;             // its page tables and stacks, then the recovery storage
  std::uint64_t storage_begin = 0;  // within `hidden`
  PhysicalRange windows;            // read-only for the guest
  PhysicalRange guest_memory[kMaxRanges];
  std::size_t guest_memory_count = 0;
  IommuList iommus;
  static constexpr std::size_t kMaxIoApics = 16;
  std::uint64_t io_apics[kMaxIoApics] = {};  // their pages
  std::size_t io_apic_count = 0;
  PowerPorts power_ports;
  std::uint64_t hpet = 0;                        // its page, if the hypervisor has taken it
  std::uint64_t hpet_for_guest = 0;              // the page of memory that the guest finds there
  std::uint32_t guest_watch = VMSRS_WATCH_ENDS;  // enum vmsrs_guest_watch
  std::uint64_t guest_hpet = 0;                  // its registers, if the guest has it; else 0
  bool devices_confined = false;                 // to what the nested tables map, by the IOMMUs
  PageTable nested;
  std::uint64_t host_cr3 = 0;
  void* msr_permissions = nullptr;
  void* io_permissions = nullptr;
  vmsrs_window* server_windows[VMSRS_MAX_SERVERS] = {};
  std::uint64_t tsc_per_ms = 1;

  std::atomic<std::uint64_t> hidden_access_count{0};
  std::atomic<std::uint64_t> window_write_count{0};
  std::atomic<std::uint64_t> redirected_init_count{0};

  // Does [begin, end) reach into what nobody but the hypervisor may touch?
  bool reaches_hidden(std::uint64_t begin, std::uint64_t end) const {
    for (const Iommu& iommu : iommus) {
      if (iommu.registers.overlaps(begin, end)) return true;
    }
    return image.overlaps(begin, end) || hidden.overlaps(begin, end);
  }
  bool is_hidden(std::uint64_t address) const { return reaches_hidden(address, address + 1); }
  bool is_io_apic(std::uint64_t page) const {
    for (std::size_t i = 0; i < io_apic_count; ++i) {
      if (io_apics[i] == page) return true;
    }
    return false;
  }
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
// hidden ranges (absent), the windows, the local APIC's page and the I/O APICs' (read-only).
[[nodiscard]] bool build_nested_tables(PagePool& pool);
// Bytes of page tables that build_nested_tables and the host's tables need at most.
std::uint64_t page_table_bytes();
// The number of nested entries that let a guest, or a device, into hidden memory or write a window,
// and of IOMMUs that do not hold devices to these tables: zero. As Platform::check_hidden.
bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result);

}  // namespace vmsrs::svm
