// SPDX-License-Identifier: Apache-2.0
#include <initializer_list>

#include "svm/console.hpp"
#include "svm/exit_handlers.hpp"
#include "svm/features.hpp"
#include "svm/guest_end.hpp"
#include "svm/machine.hpp"
#include "svm/port_permissions.hpp"
#include "svm/power_ports.hpp"
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

bool reaches_firmware_dma(const PortAccess& access) {
  return access.port < kFirmwareDmaEnd && access.port + access.bytes > kFirmwareDma;
}

void write_ports(const PortAccess& access) {
  if (access.bytes == 1) {
    x86::out8(access.port, static_cast<std::uint8_t>(access.value));
  } else if (access.bytes == 2) {
    x86::out16(access.port, static_cast<std::uint16_t>(access.value));
  } else {
    x86::out32(access.port, access.value);
  }
}

std::uint32_t read_ports(const PortAccess& access) {
  // There is nothing at these ports.
  if (reaches_firmware_dma(access)) {
    console::log_guest("dropped an access to port ", console::Hex{access.port});
    return 0xffffffff;
  }
  if (access.reaches(kPanicPort)) return panic_events();
  if (access.bytes == 1) return x86::in8(access.port);
  if (access.bytes == 2) return x86::in16(access.port);
  return x86::in32(access.port);
}

void set_result(Vmcb& vmcb, const PortAccess& access, std::uint32_t result) {
  if (access.bytes == 4) {
    vmcb.save.rax = result;
    return;
  }
  const std::uint64_t mask = access.bytes == 1 ? 0xff : 0xffff;
  vmcb.save.rax = (vmcb.save.rax & ~mask) | (result & mask);
}

void carry_out(Processor& processor, const PortAccess& write) {
  if (reaches_firmware_dma(write)) {
    console::log_guest("dropped an access to port ", console::Hex{write.port});
    return;
  }
  if (write.reaches(kPanicPort)) {
    see_panic(processor, write.byte_at(kPanicPort));
    return;
  }
  switch (power_change(write, machine().power_ports)) {
    case PowerChange::kReset:
      see_reset(processor, write);
      break;
    case PowerChange::kOff:
      leave_machine("the guest switches the machine off");
      break;
    case PowerChange::kSleep:
      // Firmware would wake the guest outside of the hypervisor.
      console::log_guest("dropped a sleep: port ", console::Hex{write.port}, ": ",
                         console::Hex{write.value});
      return;
    case PowerChange::kNone:
      break;
  }
  write_ports(write);
}

}  // namespace

void fill_port_permissions(std::uint8_t* map, const PowerPorts& power) {
  const auto intercept = [&](std::uint16_t port) {
    map[port / 8] = static_cast<std::uint8_t>(map[port / 8] | 1u << port % 8);
  };
  intercept(kPanicPort);
  for (const std::uint16_t port : {kKeyboardCommand, kFastReset, kChipsetReset, power.reset_port,
                                   power.sleep[0].port, power.sleep[1].port}) {
    if (port != 0) intercept(port);
  }
  // Where something else lies below us, or nothing: these ports are a real device's.
  if (!features().emulated || !has_firmware_configuration()) return;
  for (std::uint16_t port = kFirmwareDma; port < kFirmwareDmaEnd; ++port) intercept(port);
}

void handle_port(Processor& processor) {
  constexpr std::uint64_t kIn = 1u << 0, kString = 1u << 2, kByte = 1u << 4,
                          kWord = 1u << 5;  // 15.10.2
  Vmcb& vmcb = *processor.vmcb;
  const std::uint64_t told = vmcb.control.exit_info1;
  if ((told & kString) != 0) {
    refuse(processor, Vector::kGeneralProtection);
    return;
  }
  PortAccess access;
  access.port = static_cast<std::uint16_t>(told >> 16);
  access.bytes = (told & kByte) != 0 ? 1 : (told & kWord) != 0 ? 2 : 4;
  if ((told & kIn) != 0) {
    set_result(vmcb, access, read_ports(access));
  } else {
    access.value = static_cast<std::uint32_t>(vmcb.save.rax);
    carry_out(processor, access);
  }
  skip_instruction(vmcb, vmcb.control.exit_info2 - vmcb.save.rip);  // the next one's address
}

}  // namespace vmsrs::svm
