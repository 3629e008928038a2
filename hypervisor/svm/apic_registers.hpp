// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Registers of the local APIC and words of its interrupt commands (APM vol. 2, 16.3 and 16.5).
namespace vmsrs::svm {

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
constexpr std::uint32_t kApicLvtCmci = 0x2f0;
constexpr std::uint32_t kApicLvtExtended = 0x500, kApicLvtExtendedEnd = 0x540;
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
