// SPDX-License-Identifier: Apache-2.0
// The hypervisor's own page tables: who may do what to which page, of all pages. That the processor
// obeys: machine.own_memory.
#include "boot/host_tables.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <map>
#include <memory>

using namespace vmsrs;
using namespace vmsrs::boot;
using svm::kPage;
using svm::PhysicalRange;

namespace {

constexpr std::uint64_t kMiB = 1u << 20, kGiB = 1u << 30;
constexpr std::size_t kPoolPages = 64;

template <class Visitor>
void visit_all(const svm::PageTable& table, Visitor visit) {
  std::uint64_t at = 0;
  while (table.visit_leaves(at, 1000, visit)) {
  }
}

struct Tables {
  alignas(kPage) std::array<std::uint8_t, kPoolPages * kPage> memory{};
  svm::PagePool pool{range()};
  svm::PageTable table;

  PhysicalRange range() const {
    const auto begin = reinterpret_cast<std::uint64_t>(memory.data());
    return {begin, begin + sizeof(memory)};
  }
  // Flags of the leaf that maps an address; 0: absent.
  std::uint64_t at(std::uint64_t address) const {
    std::uint64_t found = 0;
    visit_all(table, [&](std::uint64_t begin, std::uint64_t bytes, std::uint64_t entry) {
      if (address >= begin && address - begin < bytes)
        found = entry & ~(svm::kPteAddress | svm::kPteLarge);
    });
    return found;
  }
};

svm::Machine& machine() {
  static svm::Machine m;
  m.image = {2 * kMiB, 4 * kMiB};
  m.hidden = {4 * kGiB + 64 * kMiB, 4 * kGiB + 128 * kMiB};
  m.io_apics[0] = 0xfec00000;
  m.io_apic_count = 1;
  return m;
}

HostMap host_map() {
  HostMap map;
  map.memory_end = 5 * kGiB;
  map.code = {2 * kMiB, 2 * kMiB + 10 * kPage};
  map.constants = {map.code.end, map.code.end + 3 * kPage};
  map.interrupt_table = {map.constants.end + kPage, map.constants.end + 2 * kPage};
  map.add_guard({3 * kMiB, 3 * kMiB + kPage});
  map.add_guard({machine().hidden.begin + 5 * kPage, machine().hidden.begin + 6 * kPage});
  return map;
}

}  // namespace

BOOST_AUTO_TEST_CASE(rights_of_the_pages) {
  const auto tables = std::make_unique<Tables>();
  BOOST_REQUIRE(tables->table.initialise(tables->pool, true));
  const HostMap map = host_map();
  BOOST_REQUIRE(map_host(tables->table, map, machine()));
  const std::map<std::uint64_t, std::uint64_t> expected{
      {0, svm::kAbsent},
      {kPage, svm::kHostGuest},
      {2 * kMiB - 1, svm::kHostGuest},
      {map.code.begin, svm::kHostCode},
      {map.code.end - 1, svm::kHostCode},
      {map.constants.begin, svm::kHostConstants},
      {map.constants.end - 1, svm::kHostConstants},
      {map.constants.end, svm::kHostData},
      {map.interrupt_table.begin, svm::kHostConstants},
      {map.interrupt_table.end, svm::kHostData},
      {3 * kMiB - 1, svm::kHostData},
      {3 * kMiB, svm::kAbsent},
      {3 * kMiB + kPage, svm::kHostData},
      {4 * kMiB, svm::kHostGuest},
      {0xfec00000, svm::kHostData | svm::kPteUncached},
      {0xfec01000, svm::kHostGuest},
      {svm::kLocalApic, svm::kHostData | svm::kPteUncached},
      {svm::kLocalApic + kPage, svm::kHostGuest},
      {machine().hidden.begin - 1, svm::kHostGuest},
      {machine().hidden.begin, svm::kHostData},
      {machine().hidden.begin + 5 * kPage, svm::kAbsent},
      {machine().hidden.begin + 6 * kPage, svm::kHostData},
      {machine().hidden.end - 1, svm::kHostData},
      {machine().hidden.end, svm::kHostGuest},
      {5 * kGiB - 1, svm::kHostGuest},
      {5 * kGiB, svm::kAbsent},
  };
  for (const auto& [address, flags] : expected) {
    BOOST_TEST_CONTEXT("address " << std::hex << address) {
      BOOST_TEST(tables->at(address) == flags);
    }
  }
}

// Whatever the map: nothing is written and executed, and of what is executed all is the image's.
BOOST_AUTO_TEST_CASE(no_page_is_written_and_executed) {
  for (const bool huge : {true, false}) {
    const auto tables = std::make_unique<Tables>();
    BOOST_REQUIRE(tables->table.initialise(tables->pool, huge));
    const HostMap map = host_map();
    BOOST_REQUIRE(map_host(tables->table, map, machine()));
    std::uint64_t executable = 0;
    visit_all(tables->table, [&](std::uint64_t begin, std::uint64_t bytes, std::uint64_t entry) {
      if ((entry & svm::kPteNoExecute) != 0) return;
      executable += bytes;
      BOOST_TEST((entry & svm::kPteWritable) == 0u);
      BOOST_TEST((begin >= map.code.begin && begin + bytes <= map.code.end));
    });
    BOOST_TEST(executable == map.code.bytes());
  }
}

BOOST_AUTO_TEST_CASE(the_tables_themselves_are_not_written) {
  const auto tables = std::make_unique<Tables>();
  BOOST_REQUIRE(tables->table.initialise(tables->pool, true));
  const HostMap map = host_map();
  svm::Machine& m = machine();
  m.hidden = {svm::align_down(tables->range().begin, svm::kLargePage),
              svm::align_up(tables->range().end, svm::kLargePage)};
  BOOST_REQUIRE(map_host(tables->table, map, m));
  const std::uint64_t begin = tables->range().begin + kPage;  // all but the root
  BOOST_REQUIRE(seal_tables(tables->table, begin, tables->pool));
  BOOST_TEST(tables->at(begin - kPage) == svm::kHostData);
  for (std::uint64_t at = begin; at < tables->pool.next(); at += kPage)
    BOOST_TEST(tables->at(at) == svm::kHostConstants);
  BOOST_TEST(tables->at(tables->pool.next()) == svm::kHostData);
}

BOOST_AUTO_TEST_CASE(too_few_pages) {
  const auto tables = std::make_unique<Tables>();
  tables->pool = svm::PagePool({tables->range().begin, tables->range().begin + 3 * kPage});
  BOOST_REQUIRE(tables->table.initialise(tables->pool, true));
  BOOST_TEST(!map_host(tables->table, host_map(), machine()));
}
