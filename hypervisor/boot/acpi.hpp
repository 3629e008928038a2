// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/multiboot.hpp"
#include "boot/panic_device.hpp"
#include "svm/iommu.hpp"
#include "svm/power_ports.hpp"

namespace vmsrs::boot {

// Local APIC numbers of the CPUs that the firmware calls usable (ACPI specification, MADT).
struct CpuList {
  static constexpr std::uint32_t kCapacity = 64;
  std::uint32_t apic_ids[kCapacity] = {};
  std::uint32_t count = 0;
  bool has_more = false;  // past the capacity, or with numbers that only x2APIC reaches
};

// What the boot loader has not told is searched for where a BIOS has it: early, page 0 is read.
void find_root_pointer(RootPointer& root);

// False without ACPI tables. These need the first 4 GiB mapped.
bool find_cpus(const RootPointer& root, CpuList& cpus);

// Pages of the I/O APICs, of the same table: at most `capacity`; how many there are.
std::size_t find_io_apics(const RootPointer& root, std::uint64_t* pages, std::size_t capacity);

// The IOMMUs that the firmware tells of (IVRS).
void find_iommus(const RootPointer& root, svm::IommuList& iommus);
// Linux is not to find them: its copy of the table gets another name.
void hide_iommus(const RootPointer& root);

// The ports by which the machine is reset, put to sleep and switched off.
void find_power_ports(const RootPointer& root, svm::PowerPorts& ports);
// Linux is not to find states to sleep in: it would wait for ever for the end of a sleep that it is
// refused.
void hide_sleep(const RootPointer& root);
// The page of the machine's HPET; 0: there is none.
std::uint64_t find_hpet(const RootPointer& root);
// Linux is not to find it.
void hide_hpet(const RootPointer& root);
// As compose_panic_device; `root` stays as it was if there is none.
[[nodiscard]] bool add_panic_device(RootPointer& root, std::uint64_t place,
                                    PanicDeviceTables& tables);

}  // namespace vmsrs::boot
