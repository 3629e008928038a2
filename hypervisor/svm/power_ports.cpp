// SPDX-License-Identifier: Apache-2.0
#include "svm/power_ports.hpp"

namespace vmsrs::svm {
namespace {

bool resets(const PortAccess& write, const PowerPorts& ports) {
  // Commands 0xf0 to 0xff pull the controller's output lines whose bits are 0; bit 0 is the reset.
  if (write.reaches(kKeyboardCommand) && (write.byte_at(kKeyboardCommand) & 0xf1) == 0xf0)
    return true;
  if (write.reaches(kFastReset) && (write.byte_at(kFastReset) & 1) != 0) return true;
  // Four bytes at 0xcf8 are an address of configuration space, and no reset.
  const bool is_address = write.port < kChipsetReset && write.bytes == 4;
  if (write.reaches(kChipsetReset) && !is_address && (write.byte_at(kChipsetReset) & 4) != 0)
    return true;
  return ports.reset_port != 0 && ports.reset_port != kChipsetReset &&
         write.reaches(ports.reset_port) && write.byte_at(ports.reset_port) == ports.reset_value;
}

}  // namespace

PowerChange power_change(const PortAccess& write, const PowerPorts& ports) {
  if (resets(write, ports)) return PowerChange::kReset;
  for (const PowerPorts::SleepControl& control : ports.sleep) {
    if (control.port == 0 || !write.reaches(control.port)) continue;
    constexpr unsigned kSleepEnable = 1u << 5, kTypeShift = 2, kTypeMask = 7;
    const unsigned byte = write.byte_at(control.port);
    if ((byte & kSleepEnable) == 0) continue;
    const bool off = ports.off_known && (byte >> kTypeShift & kTypeMask) == control.off_type;
    return off ? PowerChange::kOff : PowerChange::kSleep;
  }
  return PowerChange::kNone;
}

}  // namespace vmsrs::svm
