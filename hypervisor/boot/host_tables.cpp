// SPDX-License-Identifier: Apache-2.0
#include "boot/host_tables.hpp"

namespace vmsrs::boot {

using svm::kPage;

bool map_host(svm::PageTable& table, const HostMap& map, const svm::Machine& m) {
  constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;
  constexpr std::uint64_t kRegisters = svm::kHostData | svm::kPteUncached;
  const auto set = [&](svm::PhysicalRange range, std::uint64_t flags) {
    return table.set(range.begin, range.end, flags);
  };
  const std::uint64_t end = map.memory_end > kFourGiB ? map.memory_end : kFourGiB;
  bool good = set({0, end}, svm::kHostGuest) && set({0, kPage}, svm::kAbsent) &&
              set(m.image, svm::kHostData) && set(m.hidden, svm::kHostData) &&
              set(map.code, svm::kHostCode) && set(map.constants, svm::kHostConstants) &&
              set(map.interrupt_table, svm::kHostConstants) &&
              set({svm::kLocalApic, svm::kLocalApic + kPage}, kRegisters);
  for (std::size_t i = 0; i < m.io_apic_count; ++i) {
    good = good && set({m.io_apics[i], m.io_apics[i] + kPage}, kRegisters);
  }
  if (m.hpet != 0) good = good && set({m.hpet, m.hpet + kPage}, kRegisters);
  for (const svm::Iommu& iommu : m.iommus) good = good && set(iommu.registers, kRegisters);
  for (std::size_t i = 0; i < map.guard_count; ++i) {
    good = good && set(map.guards[i], svm::kAbsent);
  }
  return good;
}

bool seal_tables(svm::PageTable& table, std::uint64_t begin, const svm::PagePool& pool) {
  // Splitting a large page takes one more from the pool.
  std::uint64_t end = begin;
  while (end != pool.next()) {
    end = pool.next();
    if (!table.set(begin, end, svm::kHostConstants)) return false;
  }
  return true;
}

}  // namespace vmsrs::boot
