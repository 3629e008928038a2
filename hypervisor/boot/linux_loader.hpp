// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/memory_map.hpp"
#include "boot/multiboot.hpp"
#include "svm/address.hpp"

// Loads an unmodified bzImage by Linux's x86 boot protocol (Documentation/x86/boot.rst in its
// sources), 32-bit entry.
namespace vmsrs::boot {

struct LinuxKernel {
  std::uint64_t load_address = 0;
  std::uint64_t needed_bytes = 0;  // from there on, while it unpacks itself
  std::uint64_t alignment = 0;     // 0: can be loaded at that address only
  std::uint64_t initrd_limit = 0;
  std::uint64_t code_begin = 0;  // of the protected-mode part, in the module
  std::uint64_t code_bytes = 0;
  std::uint32_t command_line_bytes = 0;  // longest that it takes
  std::uint8_t setup_header[0x100] = {};
  std::uint32_t setup_header_bytes = 0;

  bool takes_command_line(std::uint64_t length) const;
};

// Below 1 MiB: boot_params, the command line, segments and the ACPI root pointer.
constexpr svm::PhysicalRange kBootParameters{0x90000, 0x94000};

// Reads the module's header; stops with a clear line if it is no kernel that can be started.
LinuxKernel inspect_kernel(const Module& module);

// Copies the kernel to its place and writes kBootParameters. Returns the address of boot_params,
// which the kernel gets in ESI.
std::uint32_t load_kernel(const LinuxKernel& kernel, const BootInformation& information,
                          svm::PhysicalRange initrd, const MemoryMap& map,
                          const char* command_line);

}  // namespace vmsrs::boot
