// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/multiboot.hpp"
#include "svm/iommu.hpp"

namespace vmsrs::boot {

// Local APIC numbers of the CPUs that the firmware calls usable (ACPI specification, MADT).
struct CpuList {
  static constexpr std::uint32_t kCapacity = 64;
  std::uint32_t apic_ids[kCapacity] = {};
  std::uint32_t count = 0;
  bool has_more = false;  // past the capacity, or with numbers that only x2APIC reaches
};

// False without ACPI tables. These need the first 4 GiB mapped; `root`: from the boot loader, else
// it is searched for where a BIOS has it.
bool find_cpus(const RootPointer& root, CpuList& cpus);

// Pages of the I/O APICs, of the same table: at most `capacity`; how many there are.
std::size_t find_io_apics(const RootPointer& root, std::uint64_t* pages, std::size_t capacity);

// The IOMMUs that the firmware tells of (IVRS), and where that table is; nullptr: there is none.
void* find_iommus(const RootPointer& root, svm::IommuList& iommus);
// Linux is not to find them: its copy of the table gets another name.
void hide_iommus(void* ivrs);

}  // namespace vmsrs::boot
