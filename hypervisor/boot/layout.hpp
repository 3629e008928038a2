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
  MemoryMap linux_map;  // what Linux is told
};

// Chooses; writes nothing. Stops with a clear line if memory does not suffice.
void choose_layout(const BootInformation& information, const LinuxKernel& kernel,
                   std::uint64_t storage_bytes, std::uint64_t own_bytes, Layout& layout);

}  // namespace vmsrs::boot
