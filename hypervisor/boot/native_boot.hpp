// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "boot/multiboot.hpp"

namespace vmsrs::boot {

// What Linux finds on its command line when the hypervisor has given up: the problem, in quotes.
constexpr const char* kFallbackWord = "vmsrs.fallback";

// Starts Linux from the boot loader's modules without the hypervisor. Boot CPU only, before any
// guest has run; of the modules' originals nothing may have been written over.
[[noreturn]] void boot_natively(const BootInformation& information, const char* problem);

}  // namespace vmsrs::boot
