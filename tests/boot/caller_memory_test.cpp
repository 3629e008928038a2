// SPDX-License-Identifier: Apache-2.0
// The memory of the thread that calls, over page tables of its own: nothing of them is remembered
// from one call to the next, so no pointer from the guest outlives its exit.
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "svm/guest_walk.hpp"
#include "svm/machine.hpp"
#include "svm/page_table.hpp"
#include "svm/x86.hpp"

using namespace vmsrs;
using namespace vmsrs::svm;
using recovery::Access;
using recovery::MemoryResult;

Machine& vmsrs::svm::machine() {
  static Machine m;
  return m;
}

namespace {

constexpr std::uint64_t kAt = 0x12345678000;  // in the guest's address space
constexpr std::uint64_t kPresent = kPtePresent | kPteWritable | kPteUser;

using Page = std::array<std::uint64_t, kPage / 8>;

// A guest whose memory is these pages; its physical addresses are ours.
struct Guest {
  alignas(kPage) std::array<Page, 4> tables{};  // root first
  alignas(kPage) std::array<Page, 2> pages{};
  alignas(kPage) Page hidden{};  // not the guest's
  CallerMemory memory;

  Guest() {
    machine().guest_memory[0] = {address(tables[0]), address(hidden)};
    machine().guest_memory_count = 1;
    for (unsigned level = 4; level > 1; --level)
      entry(level) = address(tables[5 - level]) | kPresent;
    map(pages[0]);
  }
  static std::uint64_t address(const Page& page) { return reinterpret_cast<std::uint64_t>(&page); }
  std::uint64_t& entry(unsigned level) {
    return tables[4 - level][kAt >> (12 + 9 * (level - 1)) & 511];
  }
  void map(const Page& page) { entry(1) = address(page) | kPresent; }
  void begin_call() {
    memory.begin_call({.cr0 = x86::kCr0Pg,
                       .cr3 = address(tables[0]),
                       .cr4 = x86::kCr4Pae,
                       .efer = x86::kEferLma});
  }
  MemoryResult write(std::uint64_t word) {
    return memory.write(GuestVirtual{kAt}, &word, sizeof word).result;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_page_that_moves_between_calls) {
  Guest guest;
  guest.begin_call();
  BOOST_REQUIRE(guest.write(1) == MemoryResult::kOk);
  BOOST_TEST(guest.pages[0][0] == 1u);
  BOOST_TEST((guest.entry(1) & (kPteAccessed | kPteDirty)) == (kPteAccessed | kPteDirty));

  guest.map(guest.pages[1]);
  guest.begin_call();
  BOOST_REQUIRE(guest.write(2) == MemoryResult::kOk);
  BOOST_TEST(guest.pages[0][0] == 1u);
  BOOST_TEST(guest.pages[1][0] == 2u);
  std::uint64_t word = 0;
  BOOST_REQUIRE(guest.memory.read(GuestVirtual{kAt}, &word, sizeof word));
  BOOST_TEST(word == 2u);
}

BOOST_AUTO_TEST_CASE(a_page_that_is_gone_at_the_next_call) {
  Guest guest;
  guest.begin_call();
  BOOST_REQUIRE(guest.write(1) == MemoryResult::kOk);
  guest.entry(1) = 0;
  guest.begin_call();
  BOOST_CHECK(guest.write(2) == MemoryResult::kTouch);
  guest.map(guest.hidden);
  guest.begin_call();
  BOOST_CHECK(guest.write(2) == MemoryResult::kBadAddress);
  BOOST_TEST(guest.pages[0][0] == 1u);
  BOOST_TEST(guest.hidden[0] == 0u);
}

// More pages than there is room for: some are walked again, and none is taken for another.
BOOST_AUTO_TEST_CASE(more_pages_than_are_remembered) {
  Guest guest;
  Page& level1 = guest.tables[3];
  for (std::uint64_t i = 0; i < level1.size(); ++i)
    level1[i] = Guest::address(guest.pages[i % 2]) | kPresent;
  guest.begin_call();
  const std::uint64_t first = kAt & ~((std::uint64_t{1} << 21) - 1);
  for (const std::uint64_t round : {0, 1}) {
    for (std::uint64_t i = 0; i < level1.size(); ++i) {
      const std::uint64_t word = round * 1000 + i;
      BOOST_REQUIRE(
          guest.memory.write(GuestVirtual{first + i * kPage}, &word, sizeof word).result ==
          MemoryResult::kOk);
      BOOST_TEST(guest.pages[i % 2][0] == word);
    }
  }
}
