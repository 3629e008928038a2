// SPDX-License-Identifier: Apache-2.0
#include "boot/ivrs.hpp"

namespace vmsrs::boot {
namespace {

using svm::DeviceSetting;
using svm::Iommu;
using svm::IommuList;

constexpr std::size_t kHeaderBytes = 48;  // ACPI's header, IVinfo, reserved
// Kinds of blocks that describe a unit (5.2.2.1); a later kind says the same and more.
constexpr std::uint8_t kUnit = 0x10, kUnitExtended = 0x11, kUnitNamed = 0x40;
constexpr std::size_t kBlockHeadBytes = 4, kUnitBytes = 24, kUnitExtendedBytes = 40;
// Kinds of device entries (5.2.2.2 to 5.2.2.8).
constexpr std::uint8_t kAll = 1, kSelect = 2, kRange = 3, kRangeEnd = 4, kAliasSelect = 66,
                       kAliasRange = 67, kExtendedSelect = 70, kExtendedRange = 71, kSpecial = 72,
                       kNamed = 240;
constexpr std::uint16_t kLastDevice = 0xffff;

// Bytes at any alignment, and none beyond the end.
class Bytes {
 public:
  Bytes(const std::uint8_t* at, std::size_t count) : at_(at), count_(count) {}

  template <typename T>
  T get(std::size_t offset) const {
    T value{};
    if (offset + sizeof(T) <= count_) __builtin_memcpy(&value, at_ + offset, sizeof(T));
    return value;
  }
  Bytes part(std::size_t offset, std::size_t bytes) const { return {at_ + offset, bytes}; }
  std::size_t count() const { return count_; }

 private:
  const std::uint8_t* at_;
  std::size_t count_;
};

// Entries are as long as their kind's upper two bits say: 4, 8, 16 or 32 bytes; but one with a
// name.
std::size_t entry_bytes(const Bytes& entries, std::size_t at) {
  const auto kind = entries.get<std::uint8_t>(at);
  constexpr std::size_t kNameLengthAt = 21, kNameAt = 22;
  if (kind == kNamed) return kNameAt + entries.get<std::uint8_t>(at + kNameLengthAt);
  return std::size_t{4} << (kind >> 6);
}

void add_setting(IommuList& list, std::uint16_t first, std::uint16_t last, std::uint8_t bits) {
  if ((bits & svm::kSystemManagement) == 0) return;
  if (list.setting_count == IommuList::kSettingCapacity) {
    list.incomplete = true;
    return;
  }
  list.settings[list.setting_count++] = {first, last, bits};
}

void read_devices(const Bytes& entries, IommuList& list) {
  std::uint16_t range_first = 0;
  std::uint8_t range_bits = 0;
  for (std::size_t at = 0; at + 4 <= entries.count(); at += entry_bytes(entries, at)) {
    const auto device = entries.get<std::uint16_t>(at + 1);
    const auto bits = entries.get<std::uint8_t>(at + 3);
    // Of one that is no PCI function: whose number it uses.
    constexpr std::size_t kSpecialDeviceAt = 5;
    switch (entries.get<std::uint8_t>(at)) {
      case kAll:
        add_setting(list, 0, kLastDevice, bits);
        break;
      case kSelect:
      case kAliasSelect:
      case kExtendedSelect:
      case kNamed:
        add_setting(list, device, device, bits);
        break;
      case kSpecial: {
        const auto used = entries.get<std::uint16_t>(at + kSpecialDeviceAt);
        add_setting(list, used, used, bits);
        break;
      }
      case kRange:
      case kAliasRange:
      case kExtendedRange:
        range_first = device;
        range_bits = bits;
        break;
      case kRangeEnd:
        if (device >= range_first) add_setting(list, range_first, device, range_bits);
        break;
      default:
        break;
    }
  }
}

// Registers of a unit without and with performance counters (3.4).
constexpr std::uint64_t kRegisterBytes = 16 * 1024, kRegisterBytesWithCounters = 512 * 1024;

std::uint64_t register_bytes(const Bytes& block, bool extended) {
  constexpr std::uint32_t kCounters = 0xf << 13;         // feature reporting of the first kind
  constexpr std::uint64_t kCountersSupported = 1u << 9;  // the register's image of the later ones
  const bool counters = extended ? (block.get<std::uint64_t>(24) & kCountersSupported) != 0
                                 : (block.get<std::uint32_t>(20) & kCounters) != 0;
  return counters ? kRegisterBytesWithCounters : kRegisterBytes;
}

// The same unit may be there as several kinds.
void add_unit(IommuList& list, const Bytes& block, bool extended) {
  const auto begin = block.get<std::uint64_t>(8);
  const std::uint64_t end = begin + register_bytes(block, extended);
  for (std::uint32_t i = 0; i < list.count; ++i) {
    svm::PhysicalRange& known = list.units[i].registers;
    if (known.begin != begin) continue;
    if (known.end < end) known.end = end;
    return;
  }
  if (list.count == IommuList::kCapacity) {
    list.incomplete = true;
    return;
  }
  list.units[list.count++] = {{begin, end}, block.get<std::uint8_t>(1)};
}

}  // namespace

void read_ivrs(const std::uint8_t* table, std::size_t bytes, IommuList& list) {
  const Bytes all(table, bytes);
  std::size_t at = kHeaderBytes;
  while (at + kBlockHeadBytes <= bytes) {
    const auto kind = all.get<std::uint8_t>(at);
    const auto length = all.get<std::uint16_t>(at + 2);
    if (length < kBlockHeadBytes || at + length > bytes) break;
    const bool extended = kind == kUnitExtended || kind == kUnitNamed;
    const std::size_t head = extended ? kUnitExtendedBytes : kUnitBytes;
    if ((kind == kUnit || extended) && length >= head) {
      add_unit(list, all.part(at, length), extended);
      read_devices(all.part(at + head, length - head), list);
    }
    at += length;
  }
  list.incomplete = list.incomplete || at != bytes;
}

}  // namespace vmsrs::boot
