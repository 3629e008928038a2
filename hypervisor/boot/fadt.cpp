// SPDX-License-Identifier: Apache-2.0
#include "boot/fadt.hpp"

namespace vmsrs::boot {
namespace {

constexpr std::size_t kHeaderBytes = 36, kChecksumAt = 9;
// Offsets in the FADT (ACPI specification 6.4, table 5.9).
constexpr std::size_t kDsdt = 40, kPm1aControl = 64, kPm1bControl = 68, kFlags = 112,
                      kResetRegister = 116, kResetValue = 128, kDsdt64 = 140, kPm1aControl64 = 172,
                      kPm1bControl64 = 184;
constexpr std::uint32_t kHasResetRegister = 1u << 10;
constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;

// 0 beyond the end: older tables are shorter.
template <typename T>
T get(const std::uint8_t* table, std::size_t bytes, std::size_t offset) {
  T value{};
  if (offset + sizeof(T) <= bytes) __builtin_memcpy(&value, table + offset, sizeof(T));
  return value;
}

// Of a generic address structure: 0 if it is no port.
std::uint16_t port_of(const std::uint8_t* table, std::size_t bytes, std::size_t offset) {
  constexpr std::uint8_t kPortSpace = 1;
  constexpr std::size_t kAddressAt = 4;
  const auto address = get<std::uint64_t>(table, bytes, offset + kAddressAt);
  const bool is_port = get<std::uint8_t>(table, bytes, offset) == kPortSpace && address <= 0xffff;
  return is_port ? static_cast<std::uint16_t>(address) : std::uint16_t{0};
}

// The part of PM1 control that has SLP_TYP and SLP_EN is its second byte.
std::uint16_t sleep_port(const std::uint8_t* table, std::size_t bytes, std::size_t narrow,
                         std::size_t wide) {
  std::uint16_t port = port_of(table, bytes, wide);
  if (port == 0) port = static_cast<std::uint16_t>(get<std::uint32_t>(table, bytes, narrow));
  return port == 0 ? port : static_cast<std::uint16_t>(port + 1);
}

// Name (\_Sn, Package ...): 08 [5c] "_Sn_" 12. Where the package's length is; 0: not this object
// here.
constexpr std::uint8_t kNameOp = 0x08, kRootPrefix = 0x5c, kPackageOp = 0x12;
std::size_t package_of(const std::uint8_t* table, std::size_t bytes, std::size_t at, char state) {
  if (table[at] != kNameOp) return 0;
  ++at;
  if (at < bytes && table[at] == kRootPrefix) ++at;
  const char name[] = {'_', 'S', state, '_'};
  if (at + sizeof(name) + 1 >= bytes) return 0;
  if (__builtin_memcmp(table + at, name, sizeof(name)) != 0) return 0;
  at += sizeof(name);
  return table[at] == kPackageOp ? at + 1 : 0;
}

// A constant of one or two bytes; false: something else.
bool read_number(const std::uint8_t* table, std::size_t bytes, std::size_t& at,
                 std::uint8_t& number) {
  constexpr std::uint8_t kZero = 0x00, kOne = 0x01, kByte = 0x0a;
  if (at >= bytes) return false;
  const std::uint8_t operation = table[at++];
  if (operation == kZero || operation == kOne) {
    number = operation;
    return true;
  }
  if (operation != kByte || at >= bytes) return false;
  number = table[at++];
  return true;
}

// The table adds up to what it did.
void replace(std::uint8_t* table, std::size_t at, std::uint8_t by) {
  table[kChecksumAt] = static_cast<std::uint8_t>(table[kChecksumAt] + table[at] - by);
  table[at] = by;
}

}  // namespace

void read_fadt(const std::uint8_t* table, std::size_t bytes, svm::PowerPorts& ports) {
  ports.sleep[0].port = sleep_port(table, bytes, kPm1aControl, kPm1aControl64);
  ports.sleep[1].port = sleep_port(table, bytes, kPm1bControl, kPm1bControl64);
  if ((get<std::uint32_t>(table, bytes, kFlags) & kHasResetRegister) == 0) return;
  ports.reset_port = port_of(table, bytes, kResetRegister);
  ports.reset_value = get<std::uint8_t>(table, bytes, kResetValue);
}

std::uint64_t definitions_of(const std::uint8_t* table, std::size_t bytes) {
  const auto wide = get<std::uint64_t>(table, bytes, kDsdt64);
  if (wide != 0 && wide < kFourGiB) return wide;
  return get<std::uint32_t>(table, bytes, kDsdt);
}

void read_off_types(const std::uint8_t* table, std::size_t bytes, svm::PowerPorts& ports) {
  for (std::size_t at = kHeaderBytes; at < bytes; ++at) {
    std::size_t next = package_of(table, bytes, at, '5');
    if (next == 0 || next >= bytes) continue;
    // A package's length has so many more bytes; then the number of its elements.
    next += 1 + (table[next] >> 6) + 1;
    std::uint8_t first = 0, second = 0;
    if (!read_number(table, bytes, next, first) || !read_number(table, bytes, next, second))
      continue;
    ports.sleep[0].off_type = first & 7;
    ports.sleep[1].off_type = second & 7;
    ports.off_known = true;
    return;
  }
}

std::size_t hide_sleep_states(std::uint8_t* table, std::size_t bytes) {
  constexpr std::uint8_t kOtherFirstLetter = 'X';
  std::size_t count = 0;
  for (std::size_t at = kHeaderBytes; at < bytes; ++at) {
    for (char state = '1'; state <= '4'; ++state) {
      if (package_of(table, bytes, at, state) == 0) continue;
      replace(table, at + (table[at + 1] == kRootPrefix ? 2 : 1), kOtherFirstLetter);
      ++count;
    }
  }
  return count;
}

std::size_t hide_hpet_device(std::uint8_t* table, std::size_t bytes) {
  // Name (_HID, EisaId ("PNP0103")): a constant of four bytes.
  constexpr std::uint8_t kHpet[] = {kNameOp, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x01, 0x03};
  std::size_t count = 0;
  for (std::size_t at = kHeaderBytes; at + sizeof(kHpet) <= bytes; ++at) {
    if (__builtin_memcmp(table + at, kHpet, sizeof(kHpet)) != 0) continue;
    replace(table, at + sizeof(kHpet) - 2, 0x0c);
    replace(table, at + sizeof(kHpet) - 1, 0x02);
    ++count;
  }
  return count;
}

}  // namespace vmsrs::boot
