// SPDX-License-Identifier: Apache-2.0
#include "boot/panic_device.hpp"

#include "boot/acpi_tables.hpp"
#include "svm/power_ports.hpp"

namespace vmsrs::boot {
namespace {

// Scope (\_SB) { Device (VPNC) { Name (_HID, "QEMU0001") Name (_STA, 0x0F)
//   Name (_CRS, ResourceTemplate () { IO (Decode16, 0x0505, 0x0505, 0x01, 0x01) }) } }
// clang-format off
constexpr std::uint8_t kDefinition[] = {
    0x10, 0x36, '\\', '_', 'S', 'B', '_',                                  // Scope
    0x5b, 0x82, 0x2e, 'V', 'P', 'N', 'C',                                   // Device
    0x08, '_', 'H', 'I', 'D', 0x0d, 'Q', 'E', 'M', 'U', '0', '0', '0', '1', 0,
    0x08, '_', 'S', 'T', 'A', 0x0a, 0x0f,
    0x08, '_', 'C', 'R', 'S', 0x11, 0x0d, 0x0a, 0x0a,                       // Buffer of 10
    0x47, 0x01, svm::kPanicPort & 0xff, svm::kPanicPort >> 8,               // a port
    svm::kPanicPort & 0xff, svm::kPanicPort >> 8, 0x01, 0x01, 0x79, 0x00};
// clang-format on
// Both lengths, of scope and device, are counted from themselves to the end.
static_assert(kDefinition[1] == sizeof(kDefinition) - 1 &&
              kDefinition[9] == sizeof(kDefinition) - 9);

void seal(AcpiHeader& header) {
  header.checksum = 0;
  header.checksum = checksum_of(&header, header.length);
}

}  // namespace

bool compose_panic_device(RootPointer& root, std::uint64_t place, PanicDeviceTables& tables) {
  auto* const pointer = reinterpret_cast<AcpiRootPointer*>(root.data);
  const bool wide = has_wide_root(*pointer);
  const auto* const old = acpi_at<AcpiHeader>(wide ? pointer->xsdt : pointer->rsdt);
  const std::uint32_t entry_bytes = wide ? 8 : 4;
  const std::uint32_t root_bytes = old->length + entry_bytes;
  const std::uint32_t definition_at = (root_bytes + 15) & ~15u;
  constexpr std::uint32_t kDefinitionBytes = sizeof(AcpiHeader) + sizeof(kDefinition);
  if (old->length > PanicDeviceTables::kBytes ||
      definition_at + kDefinitionBytes > PanicDeviceTables::kBytes)
    return false;

  AcpiHeader header{};
  __builtin_memcpy(&header, old, sizeof(header));  // the firmware's name stays
  header.length = root_bytes;
  const std::uint64_t definition = place + definition_at;
  __builtin_memcpy(tables.bytes, old, old->length);
  __builtin_memcpy(tables.bytes, &header, sizeof(header));
  __builtin_memcpy(tables.bytes + old->length, &definition, entry_bytes);
  seal(*reinterpret_cast<AcpiHeader*>(tables.bytes));

  header = {{'S', 'S', 'D', 'T'},
            kDefinitionBytes,
            1,
            0,
            {'V', 'M', 'S', 'R', 'S', ' '},
            {'P', 'A', 'N', 'I', 'C', ' ', ' ', ' '},
            1,
            {'V', 'M', 'S', 'R'},
            1};
  __builtin_memcpy(tables.bytes + definition_at, &header, sizeof(header));
  __builtin_memcpy(tables.bytes + definition_at + sizeof(header), kDefinition, sizeof(kDefinition));
  seal(*reinterpret_cast<AcpiHeader*>(tables.bytes + definition_at));
  tables.used = definition_at + kDefinitionBytes;

  if (wide) {
    pointer->xsdt = place;
  } else {
    pointer->rsdt = static_cast<std::uint32_t>(place);
  }
  pointer->checksum = 0;
  pointer->checksum = checksum_of(pointer, kOldRootPointerBytes);
  if (pointer->revision >= 2) {
    pointer->wide_checksum = 0;
    pointer->wide_checksum = checksum_of(pointer, sizeof(*pointer));
  }
  return true;
}

}  // namespace vmsrs::boot
