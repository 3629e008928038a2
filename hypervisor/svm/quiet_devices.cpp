// SPDX-License-Identifier: Apache-2.0
#include "svm/quiet_devices.hpp"

#include <cstddef>
#include <cstdint>

#include "svm/guest_access.hpp"
#include "svm/machine.hpp"
#include "svm/x86.hpp"

namespace vmsrs::svm {
namespace {

// Configuration space by ports (PCI Local Bus Specification 3.0, 3.2.2.3.2 and 6.1).
constexpr std::uint16_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr std::uint32_t kCommand = 0x04, kClass = 0x08, kHeaderType = 0x0c, kCapabilities = 0x34;
constexpr std::uint32_t kBusMaster = 1u << 2, kNoInterrupt = 1u << 10, kHasCapabilities = 1u << 20;
constexpr std::uint32_t kMsi = 0x05, kExpress = 0x10, kMsiX = 0x11, kAdvanced = 0x13;
constexpr std::uint32_t kBridgeClass = 0x06, kSystemClass = 0x08, kIommuSubclass = 0x06;

struct Function {
  std::uint32_t address;  // as kConfigAddress takes it

  std::uint32_t read(std::uint32_t offset) const {
    x86::out32(kConfigAddress, address | offset);
    return x86::in32(kConfigData);
  }
  void write(std::uint32_t offset, std::uint32_t value) const {
    x86::out32(kConfigAddress, address | offset);
    x86::out32(kConfigData, value);
  }
  bool present() const { return (read(0) & 0xffff) != 0xffff; }
  // The IOMMU is the hypervisor's own, and behind bridges lie others.
  bool is_device() const {
    const std::uint32_t what = read(kClass);
    const std::uint32_t base = what >> 24, sub = what >> 16 & 0xff;
    return base != kBridgeClass && !(base == kSystemClass && sub == kIommuSubclass) &&
           (read(kHeaderType) >> 16 & 0x7f) == 0;
  }
};

template <class Visitor>
void for_each_function(Visitor&& visit) {
  for (std::uint32_t device = 0; device < 256 * 32; ++device) {
    const std::uint32_t address = 1u << 31 | device << 11;
    if (!Function{address}.present()) continue;
    const bool many = (Function{address}.read(kHeaderType) & 1u << 23) != 0;
    for (std::uint32_t number = 0; number < (many ? 8u : 1u); ++number) {
      const Function function{address | number << 8};
      if (function.present()) visit(function);
    }
  }
}

template <class Visitor>
void for_each_capability(const Function& function, Visitor&& visit) {
  if ((function.read(kCommand) & kHasCapabilities) == 0) return;
  std::uint32_t at = function.read(kCapabilities) & 0xfc;
  for (int left = 48; left > 0 && at >= 0x40; --left) {  // a list that bites its tail ends too
    const std::uint32_t head = function.read(at);
    visit(head & 0xff, at);
    at = head >> 8 & 0xfc;
  }
}

void silence(const Function& function) {
  const std::uint32_t command =
      function.read(kCommand) & 0xffff;  // status bits are cleared by ones
  function.write(kCommand, (command & ~kBusMaster) | kNoInterrupt);
  for_each_capability(function, [&](std::uint32_t kind, std::uint32_t at) {
    constexpr std::uint32_t kMsiEnable = 1u << 16, kMsiXEnable = 1u << 31;
    if (kind == kMsi) function.write(at, function.read(at) & ~kMsiEnable);
    if (kind == kMsiX) function.write(at, function.read(at) & ~kMsiXEnable);
  });
}

// Function level reset (PCI Express Base Specification, 6.6.2; Advanced Features, PCI ECN of 2006).
// True: begun.
bool begin_reset(const Function& function) {
  bool begun = false;
  for_each_capability(function, [&](std::uint32_t kind, std::uint32_t at) {
    constexpr std::uint32_t kExpressCan = 1u << 28, kExpressReset = 1u << 15;
    constexpr std::uint32_t kAdvancedCan = 1u << 25, kAdvancedReset = 1;
    if (kind == kExpress && (function.read(at + 4) & kExpressCan) != 0) {
      function.write(at + 8, (function.read(at + 8) & 0xffff) | kExpressReset);
      begun = true;
    } else if (kind == kAdvanced && !begun && (function.read(at) & kAdvancedCan) != 0) {
      function.write(at + 4, kAdvancedReset);
      begun = true;
    }
  });
  return begun;
}

// What a reset takes from a function and firmware had given it: its addresses, its interrupt line,
// its command word without the mastering.
struct Saved {
  static constexpr std::uint32_t kOffsets[] = {0x0c, 0x10, 0x14, 0x18, 0x1c,
                                               0x20, 0x24, 0x30, 0x3c, kCommand};
  static constexpr std::size_t kCount = sizeof(kOffsets) / sizeof(kOffsets[0]);
  Function function;
  std::uint32_t values[kCount];

  void save(const Function& from) {
    function = from;
    for (std::size_t i = 0; i < kCount; ++i) values[i] = from.read(kOffsets[i]);
    values[kCount - 1] &= 0xffff;
  }
  void restore() const {
    for (std::size_t i = 0; i < kCount; ++i) function.write(kOffsets[i], values[i]);
  }
};

// Functions past the capacity are only silenced.
constexpr std::size_t kMostResets = 256;
constinit Saved saved[kMostResets] = {};

void wait_ms(std::uint64_t milliseconds) {
  const std::uint64_t begin = x86::read_tsc();
  while (x86::read_tsc() - begin < milliseconds * machine().tsc_per_ms) x86::pause();
}

void quiet_pci() {
  for_each_function([](const Function& function) {
    if (function.is_device()) silence(function);
  });
  std::size_t count = 0;
  for_each_function([&](const Function& function) {
    if (!function.is_device() || count == kMostResets) return;
    saved[count].save(function);
    if (begin_reset(function)) ++count;
  });
  constexpr std::uint64_t kResetMs = 100;
  if (count > 0) wait_ms(kResetMs);
  for (std::size_t i = 0; i < count; ++i) saved[i].restore();
}

void mask_interrupt_controllers() {
  constexpr std::uint16_t kFirstMask = 0x21, kSecondMask = 0xa1;
  x86::out8(kFirstMask, 0xff);
  x86::out8(kSecondMask, 0xff);
  for (std::size_t i = 0; i < machine().io_apic_count; ++i) {
    constexpr std::uint32_t kVersion = 1, kFirstEntry = 0x10, kMasked = 1u << 16;
    auto* const registers = reinterpret_cast<volatile std::uint32_t*>(machine().io_apics[i]);
    registers[0] = kVersion;
    const std::uint32_t last = registers[4] >> 16 & 0xff;
    for (std::uint32_t entry = 0; entry <= last; ++entry) {
      registers[0] = kFirstEntry + 2 * entry;
      registers[4] = kMasked;
    }
  }
}

// IA-PC HPET Specification 1.0a, 2.3.5.
void stop_hpet() {
  if (machine().guest_hpet == 0) return;
  constexpr std::uint64_t kConfiguration = 0x10, kEnabledLegacy = 3;
  const GuestAccess access;
  auto* const configuration =
      reinterpret_cast<volatile std::uint64_t*>(machine().guest_hpet + kConfiguration);
  *configuration = *configuration & ~kEnabledLegacy;
}

}  // namespace

void quiet_devices() {
  mask_interrupt_controllers();
  stop_hpet();
  quiet_pci();
}

}  // namespace vmsrs::svm
