// SPDX-License-Identifier: Apache-2.0
#include "svm/page_table.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <memory>
#include <vector>

// The walk over the nested tables that a check makes: in pieces it sees each leaf once.
using namespace vmsrs::svm;

namespace {

struct Table {
  static constexpr std::uint64_t kBytes = 64 * kPage;
  std::unique_ptr<void, void (*)(void*)> memory{std::aligned_alloc(kPage, kBytes), std::free};
  PagePool pool{{reinterpret_cast<std::uint64_t>(memory.get()),
                 reinterpret_cast<std::uint64_t>(memory.get()) + kBytes}};
  PageTable table;

  explicit Table(bool huge) {
    BOOST_REQUIRE(table.initialise(pool, huge));
    BOOST_REQUIRE(table.set(0, std::uint64_t{8} << 30, kNestedFlags));
    BOOST_REQUIRE(table.set(kLargePage, 2 * kLargePage, kAbsent));
    BOOST_REQUIRE(table.set(0x123000, 0x125000, kAbsent));
    BOOST_REQUIRE(
        table.set(std::uint64_t{1} << 47, (std::uint64_t{1} << 47) + kPage, kNestedFlags));
  }
};

struct Leaf {
  std::uint64_t begin, bytes, entry;
  bool operator==(const Leaf&) const = default;
};

std::vector<Leaf> leaves(const PageTable& table, std::uint32_t most, std::uint64_t& pieces) {
  std::vector<Leaf> all;
  std::uint64_t at = 0;
  pieces = 0;
  for (bool more = true; more; ++pieces) {
    std::uint32_t looked = 0;
    more = table.visit_leaves(at, most,
                              [&](std::uint64_t begin, std::uint64_t bytes, std::uint64_t entry) {
                                all.push_back({begin, bytes, entry});
                                ++looked;
                              });
    BOOST_REQUIRE(looked <= most);
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_leaf_is_seen_once_however_small_the_pieces) {
  for (const bool huge : {true, false}) {
    const Table t(huge);
    std::uint64_t pieces = 0;
    std::vector<Leaf> all;
    t.table.for_each_leaf([&](std::uint64_t begin, std::uint64_t bytes, std::uint64_t entry) {
      all.push_back({begin, bytes, entry});
    });
    BOOST_TEST((leaves(t.table, 1u << 20, pieces) == all));
    BOOST_TEST(pieces == 1u);
    std::uint64_t mapped = 0, end = 0;
    for (const Leaf& leaf : all) {
      BOOST_TEST(leaf.begin >= end);
      end = leaf.begin + leaf.bytes;
      mapped += leaf.bytes;
      BOOST_TEST((leaf.entry & kPteAddress) == leaf.begin);
    }
    BOOST_TEST(mapped == (std::uint64_t{8} << 30) - kLargePage - 2 * kPage + kPage);
    BOOST_TEST(end == (std::uint64_t{1} << 47) + kPage);
    for (const std::uint32_t most : {1u, 7u, 512u}) {
      BOOST_TEST((leaves(t.table, most, pieces) == all));
      BOOST_TEST(pieces > all.size() / most);
    }
  }
}
