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

std::uint64_t page_table_bytes() {
  const std::uint64_t reach = std::uint64_t{1} << mapped_bits();
  std::uint64_t pages = 64 + (reach >> 39);  // root, splits, level 3
  if (!features().huge_pages) pages += reach >> 30;
  return 2 * pages * kPage;
}

bool build_nested_tables(PagePool& pool) {
  Machine& m = the_machine;
  if (!m.nested.initialise(pool, features().huge_pages)) return false;
  const std::uint64_t apic_end = kLocalApic + kPage;
  return m.nested.set(0, std::uint64_t{1} << mapped_bits(), kNestedFlags) &&
         m.nested.set(m.image.begin, m.image.end, kAbsent) &&
         m.nested.set(m.hidden.begin, m.hidden.end, kAbsent) &&
         m.nested.set(m.windows.begin, m.windows.end, kNestedReadOnlyFlags) &&
         // Stores to the local APIC trap for ever: see apic.hpp.
         m.nested.set(kLocalApic, apic_end, kNestedReadOnlyFlags | kPteUncached);
}

vmsrs_check_result check_nested_tables() {
  const Machine& m = the_machine;
  vmsrs_check_result result{};
  m.nested.for_each_leaf([&](std::uint64_t, std::uint64_t bytes, std::uint64_t entry) {
    const std::uint64_t frame = align_down(entry & kPteAddress, bytes);
    const bool reaches_hidden =
        m.image.overlaps(frame, frame + bytes) || m.hidden.overlaps(frame, frame + bytes);
    const bool writes_window =
        m.windows.overlaps(frame, frame + bytes) && (entry & kPteWritable) != 0;
    ++result.examined_count;
    if (!reaches_hidden && !writes_window) return;
    if (result.violation_count == 0) result.detail = frame;
    ++result.violation_count;
  });
  result.verdict = result.violation_count == 0 ? VMSRS_VERDICT_OK : VMSRS_VERDICT_VIOLATED;
  return result;
}

}  // namespace vmsrs::svm
