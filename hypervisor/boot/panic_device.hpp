// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "boot/multiboot.hpp"
#include "svm/address.hpp"

namespace vmsrs::boot {

// The ACPI tables by which Linux finds the panic device (svm/port_exit.cpp): a table of definitions
// and the firmware's root table with one more entry. Linux can overwrite them; these are ours.
struct PanicDeviceTables {
  static constexpr std::uint64_t kBytes = 2 * svm::kPage;  // of memory that Linux can read
  std::uint8_t bytes[kBytes] = {};
  std::uint32_t used = 0;
};

// Composes the tables for their place below 4 GiB. `root`: a copy of the firmware's root pointer,
// whose tables can be read; becomes one to the new root table. False: the firmware's root table is
// too long.
[[nodiscard]] bool compose_panic_device(RootPointer& root, std::uint64_t place,
                                        PanicDeviceTables& tables);

}  // namespace vmsrs::boot
