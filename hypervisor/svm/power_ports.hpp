// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::svm {

// A guest's access to ports: one instruction, up to four of them.
struct PortAccess {
  std::uint16_t port = 0;
  std::uint8_t bytes = 1;   // 1, 2, 4
  std::uint32_t value = 0;  // of a write

  // What the access has for one port.
  bool reaches(std::uint32_t at) const { return at >= port && at < std::uint32_t{port} + bytes; }
  std::uint8_t byte_at(std::uint32_t at) const {
    return static_cast<std::uint8_t>(value >> (8 * (at - port)));
  }
};

// By which ports this machine is reset, put to sleep and switched off, as its firmware tells (ACPI
// specification, FADT).
struct PowerPorts {
  struct SleepControl {
    std::uint16_t port = 0;     // upper half of a PM1 control register; 0: there is none
    std::uint8_t off_type = 0;  // SLP_TYP of S5
  };
  SleepControl sleep[2];
  bool off_known = false;        // the types of S5 were found
  std::uint16_t reset_port = 0;  // 0: the reset register is no port, or there is none
  std::uint8_t reset_value = 0;
};

// The ports that all machines have: the keyboard controller's commands, the fast reset, the
// chipset's reset.
constexpr std::uint16_t kKeyboardCommand = 0x64, kFastReset = 0x92, kChipsetReset = 0xcf9;
// A paravirtual device by which a kernel says that it panics (QEMU, docs/specs/pvpanic).
constexpr std::uint16_t kPanicPort = 0x505;
constexpr std::uint8_t kPanicked = 1, kCrashKernelLoaded = 2;

enum class PowerChange { kNone, kReset, kOff, kSleep };

// What a write to these ports does to the machine. A sleep whose type is not known to be S5 is
// kSleep.
PowerChange power_change(const PortAccess& write, const PowerPorts& ports);

}  // namespace vmsrs::svm
