// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/apic_registers.hpp"

// Which stores and messages would bring an INIT past the hypervisor. Nothing here touches the
// machine: tests/boot runs it on the host.
namespace vmsrs::svm {

constexpr std::uint32_t kIoApicIndex = 0x00, kIoApicData = 0x10, kIoApicEoi = 0x40;
constexpr std::uint32_t kIoApicFirstEntry =
    0x10;  // two words each, the delivery mode in the even one

constexpr bool delivers_init(std::uint32_t word) { return (word & kIpiModeMask) == kIpiInit; }

// The interrupt command register is looked at before. Below the task priority: the number, by which
// CPUs are known, and what is reserved; QEMU takes a store to the very first for a device's
// message.
constexpr bool may_store_to_apic(std::uint32_t offset, std::uint32_t value) {
  const bool is_vector_entry = offset == kApicLvtCmci ||
                               (offset >= kApicLvtTimer && offset <= kApicLvtError) ||
                               (offset >= kApicLvtExtended && offset < kApicLvtExtendedEnd);
  return offset >= kApicTaskPriority && !(is_vector_entry && delivers_init(value));
}

// Exact offsets only: chips differ in what they take for the same register.
constexpr bool may_store_to_io_apic(std::uint32_t offset, std::uint32_t index,
                                    std::uint32_t value) {
  if (offset == kIoApicIndex || offset == kIoApicEoi) return true;
  const std::uint32_t entry = index & 0xff;
  return offset == kIoApicData &&
         (entry < kIoApicFirstEntry || (entry & 1) != 0 || !delivers_init(value));
}

// #SX, the security exception: with VM_CR.R_INIT set an INIT becomes one, with this code (APM vol.
// 2, 8.2.24 and 15.28).
enum class SecurityException { kRedirectedInit, kGuests };
constexpr SecurityException what_is(std::uint64_t error_code) {
  return error_code == 1 ? SecurityException::kRedirectedInit : SecurityException::kGuests;
}

}  // namespace vmsrs::svm
