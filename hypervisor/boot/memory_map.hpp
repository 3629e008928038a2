// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmsrs::boot {

// Types of the firmware's map ("e820"; ACPI specification, 15).
constexpr std::uint32_t kUsable = 1;
constexpr std::uint32_t kReserved = 2;
constexpr std::uint32_t kAcpiTables = 3;
constexpr std::uint32_t kPersistentLegacy = 12;
constexpr std::uint32_t kPlaced = 0xffff;  // only while places are being chosen

struct MemoryRange {
  std::uint64_t begin, end;
  std::uint32_t type;
};

// Ranges of physical memory, in order, never overlapping; neighbours of one type are one range.
class MemoryMap {
 public:
  static constexpr std::size_t kCapacity = 120;  // boot_params holds 128

  // Gives [begin, end) this type, whatever it was. False if there is no room.
  [[nodiscard]] bool set(std::uint64_t begin, std::uint64_t end, std::uint32_t type);

  bool is_usable(std::uint64_t begin, std::uint64_t end) const;
  // The highest aligned usable place of that size that ends at or below `limit`; 0 if there is
  // none.
  std::uint64_t find_top(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t limit) const;
  std::uint64_t usable_bytes() const;
  std::uint64_t top() const;  // end of the highest usable range

  const MemoryRange* begin() const { return ranges_; }
  const MemoryRange* end() const { return ranges_ + count_; }
  std::size_t count() const { return count_; }

 private:
  bool add(MemoryRange range);
  void remove(std::size_t at);

  MemoryRange ranges_[kCapacity] = {};
  std::size_t count_ = 0;
};

}  // namespace vmsrs::boot
