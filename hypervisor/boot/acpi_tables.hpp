// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The head of ACPI's tables (ACPI specification, 5.2).
namespace vmsrs::boot {

struct [[gnu::packed]] AcpiRootPointer {
  char signature[8];
  std::uint8_t checksum;
  char oem[6];
  std::uint8_t revision;
  std::uint32_t rsdt;
  std::uint32_t length;  // from here on: revision 2
  std::uint64_t xsdt;
  std::uint8_t wide_checksum;
  std::uint8_t reserved[3];
};
constexpr std::uint32_t kOldRootPointerBytes = 20;
static_assert(sizeof(AcpiRootPointer) == 36);

struct [[gnu::packed]] AcpiHeader {
  char signature[4];
  std::uint32_t length;
  std::uint8_t revision, checksum;
  char oem[6], oem_table[8];
  std::uint32_t oem_revision;
  char creator[4];
  std::uint32_t creator_revision;
};
static_assert(sizeof(AcpiHeader) == 36);

template <class T>
T* acpi_at(std::uint64_t address) {
  return reinterpret_cast<T*>(address);
}

// Tables above 4 GiB cannot be read at boot; then the older root table serves.
inline bool has_wide_root(const AcpiRootPointer& pointer) {
  return pointer.revision >= 2 && pointer.xsdt != 0 && pointer.xsdt < std::uint64_t{1} << 32;
}

// What makes all bytes add up to zero, if it is added to one of them.
inline std::uint8_t checksum_of(const void* table, std::uint32_t length) {
  std::uint8_t sum = 0;
  for (std::uint32_t i = 0; i < length; ++i)
    sum = static_cast<std::uint8_t>(sum + static_cast<const std::uint8_t*>(table)[i]);
  return static_cast<std::uint8_t>(-sum);
}

}  // namespace vmsrs::boot
