// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "boot/memory_map.hpp"
#include "boot/screen.hpp"
#include "boot/text.hpp"

namespace vmsrs::boot {

struct Module {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t bytes() const { return end - begin; }
};
enum ModuleIndex { kKernelModule, kInitrdModule, kWindowsModule, kModuleCount };

// The ACPI root pointer, where the boot loader hands it on (under UEFI it lies where no search
// finds it).
struct RootPointer {
  std::uint8_t data[36] = {};
  std::uint32_t bytes = 0;  // 0: not told
};

// Our own copy of all that the boot loader told: its originals lie in memory that is written soon.
struct BootInformation {
  Text<1024> options;        // the hypervisor's command line
  Text<2048> linux_options;  // the kernel module's
  Module modules[kModuleCount];
  std::uint32_t module_count = 0;
  MemoryMap memory;
  RootPointer root_pointer;
  Screen screen;
  bool uefi = false;
};

// Reads what a multiboot 1 or 2 boot loader passes in EAX and EBX. nullptr, or what is wrong with
// it.
const char* copy_multiboot(std::uint32_t magic, std::uint64_t information, BootInformation& out);

}  // namespace vmsrs::boot
