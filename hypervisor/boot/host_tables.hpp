// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "svm/machine.hpp"
#include "svm/page_table.hpp"

namespace vmsrs::boot {

// Where the host sees each server's window in one piece, whatever frames the image has it in.
constexpr std::uint64_t kWindowAlias = std::uint64_t{1} << 45;

// What the host's own tables map; all of it at its own address.
struct HostMap {
  static constexpr std::size_t kMostPages = 80;  // guards: one for each CPU's stack, and for boot's

  std::uint64_t memory_end = 0;  // behind the machine's memory
  svm::PhysicalRange code;       // of the image; no page of it is written
  svm::PhysicalRange constants;  // of the image; no page of it is written or executed
  svm::PhysicalRange interrupt_table;
  svm::PhysicalRange guards[kMostPages];  // absent
  std::size_t guard_count = 0;

  void add_guard(svm::PhysicalRange guard) {
    if (guard_count < kMostPages) guards[guard_count++] = guard;
  }
};

// Maps all memory and the registers that the hypervisor uses. No page is both written and executed;
// only the image's code is executed. The guest's memory is a user's (svm/guest_access.hpp), page 0
// and the guards are absent. False: the pool is used up.
[[nodiscard]] bool map_host(svm::PageTable& table, const HostMap& map, const svm::Machine& machine);

// Takes [begin, pool.next()) the right to be written, these tables among it; for tables that are
// not in use yet. Nobody changes one of them afterwards.
[[nodiscard]] bool seal_tables(svm::PageTable& table, std::uint64_t begin,
                               const svm::PagePool& pool);

}  // namespace vmsrs::boot
