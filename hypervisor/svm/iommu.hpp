// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/address.hpp"
#include "svm/page_pool.hpp"

// AMD's I/O memory management units: devices reach what the guest's processors reach, by the same
// nested tables, and hidden memory is in neither. Linux neither sees the units nor reaches their
// registers. Section numbers: AMD I/O Virtualization Technology (IOMMU) Specification, 48882.
namespace vmsrs::svm {

struct Iommu {
  PhysicalRange registers;
  std::uint8_t link_flags = 0;  // of its IVHD block (5.2.2): what its control register must say
};

// What the firmware tells of one or several devices (5.2.2.2): the first to the last device number.
struct DeviceSetting {
  std::uint16_t first = 0, last = 0;
  std::uint8_t bits = 0;  // kSystemManagement; the others are about interrupts, which all may send
};
constexpr std::uint8_t kSystemManagement = 0x30;

struct IommuList {
  static constexpr std::uint32_t kCapacity = 16, kSettingCapacity = 256;

  Iommu units[kCapacity] = {};
  std::uint32_t count = 0;
  DeviceSetting settings[kSettingCapacity] = {};
  std::uint32_t setting_count = 0;
  bool incomplete = false;  // there are more, of which nothing is known

  const Iommu* begin() const { return units; }
  const Iommu* end() const { return units + count; }
};

// Of the hidden memory that start_iommus takes.
std::uint64_t iommu_bytes(const IommuList& units);

// Puts all devices under the nested tables, which must be whole by then. False: there is no unit, a
// unit that is not known, or one that does not answer. Boot CPU only.
[[nodiscard]] bool start_iommus(const IommuList& units, PagePool& pool);

// How many units do not hold their devices (any more) to the nested tables.
std::uint64_t count_open_iommus();
// Accesses of devices that the units have refused and reported. Takes the reports; one CPU at a
// time (others get what was known).
std::uint64_t refused_device_accesses();

}  // namespace vmsrs::svm
