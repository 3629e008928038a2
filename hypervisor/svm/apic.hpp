// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/processor.hpp"

// The guest uses the real local APICs. Its loads go straight through; its stores trap, for ever,
// because one of them can be an INIT: the CPU that gets a real INIT leaves guest mode and runs on
// outside the hypervisor. So INIT and start-up IPIs are taken out here and carried out by hand
// (processor_start.hpp); everything else is stored as it is.
namespace vmsrs::svm {

void handle_apic_store(Processor& processor, std::uint64_t offset);

std::uint32_t apic_read(std::uint32_t offset);
void apic_write(std::uint32_t offset, std::uint32_t value);

// Fixes the low word of an interrupt command to one CPU and waits until it is out. The guest's own
// destination register is put back.
void send_ipi(std::uint32_t apic_id, std::uint32_t command);

// What an INIT does to a local APIC, pending interrupts included (APM vol. 2, 16.3).
void reset_local_apic();

constexpr std::uint32_t kApicId = 0x20;
constexpr std::uint32_t kApicTaskPriority = 0x80;
constexpr std::uint32_t kApicEoi = 0xb0;
constexpr std::uint32_t kApicLogicalDestination = 0xd0;
constexpr std::uint32_t kApicDestinationFormat = 0xe0;
constexpr std::uint32_t kApicSpurious = 0xf0;
constexpr std::uint32_t kApicInService = 0x100;
constexpr std::uint32_t kApicRequested = 0x200;
constexpr std::uint32_t kApicLvtTimer = 0x320;
constexpr std::uint32_t kApicLvtError = 0x370;
constexpr std::uint32_t kApicInitialCount = 0x380;
constexpr std::uint32_t kApicCommandLow = 0x300;
constexpr std::uint32_t kApicCommandHigh = 0x310;

constexpr std::uint32_t kIpiNmi = 4u << 8;
constexpr std::uint32_t kIpiInit = 5u << 8;
constexpr std::uint32_t kIpiStartUp = 6u << 8;
constexpr std::uint32_t kIpiModeMask = 7u << 8;
constexpr std::uint32_t kIpiLogical = 1u << 11;
constexpr std::uint32_t kIpiPending = 1u << 12;
constexpr std::uint32_t kIpiAssert = 1u << 14;
constexpr std::uint32_t kIpiLevel = 1u << 15;

}  // namespace vmsrs::svm
