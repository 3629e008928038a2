// SPDX-License-Identifier: Apache-2.0
#include <initializer_list>

#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/features.hpp"
#include "svm/port_permissions.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// QEMU's firmware configuration: what it has is read by bytes, or it writes it to memory by itself,
// any memory, past the IOMMU.
constexpr std::uint16_t kFirmwareSelect = 0x510, kFirmwareData = 0x511, kFirmwareDma = 0x514,
                        kFirmwareDmaEnd = 0x51c;

bool has_firmware_configuration() {
  x86::out16(kFirmwareSelect, 0);  // its signature
  for (const char c : {'Q', 'E', 'M', 'U'}) {
    if (x86::in8(kFirmwareData) != static_cast<std::uint8_t>(c)) return false;
  }
  return true;
}

}  // namespace

void fill_port_permissions(std::uint8_t* map) {
  // Where something else lies below us, or nothing: these ports are a real device's.
  if (!features().emulated || !has_firmware_configuration()) return;
  for (std::uint16_t port = kFirmwareDma; port < kFirmwareDmaEnd; ++port) {
    map[port / 8] = static_cast<std::uint8_t>(map[port / 8] | 1u << port % 8);
  }
}

// There is nothing at these ports.
void handle_port(Processor& processor) {
  constexpr std::uint64_t kIn = 1u << 0, kString = 1u << 2, kByte = 1u << 4,
                          kWord = 1u << 5;  // 15.10.2
  Vmcb& vmcb = *processor.vmcb;
  const std::uint64_t access = vmcb.control.exit_info1;
  if ((access & kString) != 0) {
    refuse(processor, Vector::kGeneralProtection);
    return;
  }
  console::log_guest("dropped an access to port ", console::Hex{access >> 16 & 0xffff});
  if ((access & kIn) != 0) {
    const std::uint64_t mask = (access & kByte) != 0   ? 0xff
                               : (access & kWord) != 0 ? 0xffff
                                                       : 0xffffffff;
    vmcb.save.rax = mask == 0xffffffff ? mask : vmcb.save.rax | mask;
  }
  skip_instruction(vmcb, vmcb.control.exit_info2 - vmcb.save.rip);  // the next one's address
}

}  // namespace vmsrs::svm
