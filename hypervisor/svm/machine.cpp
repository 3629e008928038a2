// SPDX-License-Identifier: Apache-2.0
#include "svm/machine.hpp"

#include "svm/features.hpp"

namespace vmsrs::svm {
namespace {

constinit Machine the_machine;

// A four-level table reaches 48 bits. Without 1 GiB leaves each gigabyte costs a page of tables, so
// such (old, small or emulated) processors get 40 bits at most.
std::uint64_t mapped_bits() {
  const std::uint64_t widest = features().huge_pages ? 48 : 40;
  return features().physical_bits < widest ? features().physical_bits : widest;
}

}  // namespace

Machine& machine() { return the_machine; }

std::uint64_t mapped_end() { return std::uint64_t{1} << mapped_bits(); }

std::uint64_t page_table_bytes() {
  std::uint64_t pages = 128 + (mapped_end() >> 39);  // root, splits, level 3
  if (!features().huge_pages) pages += mapped_end() >> 30;
  return 2 * pages * kPage;
}

bool build_nested_tables(PagePool& pool) {
  Machine& m = the_machine;
  if (!m.nested.initialise(pool, features().huge_pages)) return false;
  const std::uint64_t apic_end = kLocalApic + kPage;
  bool good = m.nested.set(0, mapped_end(), kNestedFlags) &&
              m.nested.set(m.image.begin, m.image.end, kAbsent) &&
              m.nested.set(m.hidden.begin, m.hidden.end, kAbsent) &&
              m.nested.set(m.windows.begin, m.windows.end, kNestedReadOnlyFlags) &&
              // Stores to the local APIC trap for ever: see apic.hpp.
              m.nested.set(kLocalApic, apic_end, kNestedReadOnlyFlags | kPteUncached) &&
              m.nested.set(apic_end, kMessagesEnd, kAbsent);
  for (std::size_t i = 0; i < m.io_apic_count; ++i) {
    good = good &&
           m.nested.set(m.io_apics[i], m.io_apics[i] + kPage, kNestedReadOnlyFlags | kPteUncached);
  }
  if (m.hpet != 0) {
    good = good && m.nested.set(m.hpet, m.hpet + kPage, kNestedFlags, m.hpet_for_guest - m.hpet);
  }
  for (const Iommu& iommu : m.iommus) {
    good = good && m.nested.set(iommu.registers.begin, iommu.registers.end, kAbsent);
  }
  return good;
}

bool check_hidden(std::uint64_t& cursor, vmsrs_check_result& result) {
  constexpr std::uint32_t kEntriesOfPiece = 1024;
  const Machine& m = the_machine;
  const auto look = [&](std::uint64_t, std::uint64_t bytes, std::uint64_t entry) {
    const std::uint64_t frame = align_down(entry & kPteAddress, bytes);
    const bool writes_window = m.windows.overlaps(frame, frame + bytes) &&
                               (entry & (kPteWritable | kPteDeviceWrites)) != 0;
    ++result.examined_count;
    if (!m.reaches_hidden(frame, frame + bytes) && !writes_window) return;
    if (result.violation_count == 0) result.detail = frame;
    ++result.violation_count;
  };
  const bool more = m.nested.visit_leaves(cursor, kEntriesOfPiece, look);
  result.verdict = result.violation_count == 0 ? VMSRS_VERDICT_OK : VMSRS_VERDICT_VIOLATED;
  if (more) return true;
  const std::uint64_t open = m.devices_confined ? count_open_iommus() : 1;
  if (open > 0 && result.violation_count == 0) result.detail = VMSRS_DETAIL_DEVICES_FREE;
  result.examined_count += m.iommus.count;
  result.violation_count += open;
  if (result.violation_count == 0 && m.redirected_init_count == 0)
    result.detail = VMSRS_DETAIL_INIT_UNVERIFIED;
  result.verdict = result.violation_count == 0 ? VMSRS_VERDICT_OK : VMSRS_VERDICT_VIOLATED;
  return false;
}

}  // namespace vmsrs::svm
