// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/memory_map.hpp"
#include "boot/text.hpp"

namespace vmsrs::boot {

struct Module {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t bytes() const { return end - begin; }
};
enum ModuleIndex { kKernelModule, kInitrdModule, kWindowsModule, kModuleCount };

// Our own copy of all that the boot loader told: its originals lie in memory that is written soon.
struct BootInformation {
  Text<1024> options;        // the hypervisor's command line
  Text<2048> linux_options;  // the kernel module's
  Module modules[kModuleCount];
  std::uint32_t module_count = 0;
  MemoryMap memory;
};

// Stops with a clear line on anything that cannot be used.
void copy_multiboot(std::uint32_t magic, std::uint64_t information, BootInformation& out);

}  // namespace vmsrs::boot
