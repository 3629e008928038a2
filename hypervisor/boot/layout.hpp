// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/linux_loader.hpp"
#include "boot/multiboot.hpp"
#include "svm/address.hpp"

namespace vmsrs::boot {

// Where everything goes in physical memory.
struct Layout {
  svm::PhysicalRange image;     // the hypervisor, where the boot loader put it
  svm::PhysicalRange hidden;    // own memory, then recovery storage
  std::uint64_t own_bytes = 0;  // of `hidden`, from its beginning
  svm::PhysicalRange windows;
  svm::PhysicalRange initrd;
  // Tables that are added to the firmware's; behind them a page that stands for the HPET.
  svm::PhysicalRange acpi_tables;
  MemoryMap linux_map;  // what Linux is told
};

struct HiddenMemory {
  std::uint64_t own_bytes, storage_bytes;
  std::uint64_t place;  // 0: as high as it can
  std::uint64_t limit;  // no use of memory above
};

// These choose and write nothing. They stop with a clear line if memory does not suffice. The
// kernel goes where it prefers, or elsewhere if it can be moved.
void choose_layout(const BootInformation& information, const HiddenMemory& hidden,
                   LinuxKernel& kernel, Layout& layout);
// For Linux without the hypervisor.
void choose_native_layout(const BootInformation& information, LinuxKernel& kernel, Layout& layout);

}  // namespace vmsrs::boot
