// SPDX-License-Identifier: Apache-2.0
// The records of guests' ends.
#include "svm/guest_end_ring.hpp"

#include <boost/test/unit_test.hpp>
#include <memory>

using namespace vmsrs;

namespace {

struct Ring {
  std::unique_ptr<svm::GuestEndRing> ring = std::make_unique<svm::GuestEndRing>();
  vmsrs_guest_end ends[2 * VMSRS_GUEST_ENDS_KEPT] = {};

  void add(std::uint32_t kind, std::uint32_t cpus = 2) {
    vmsrs_guest_end head{};
    head.kind = kind;
    head.cpu_count = cpus;
    svm::GuestEndRing::Record& record = ring->add(head);
    for (std::uint32_t i = 0; i < cpus; ++i) record.cpus[i].rip = 100 * record.head.sequence + i;
  }
  std::uint32_t read(std::uint64_t& cursor, std::uint32_t room) {
    return ring->read(cursor, ends, room);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(nothing_yet, Ring) {
  std::uint64_t cursor = 0;
  BOOST_CHECK_EQUAL(read(cursor, 4), 0u);
  BOOST_CHECK_EQUAL(cursor, 1u);
  cursor = ~std::uint64_t{0};
  BOOST_CHECK_EQUAL(read(cursor, 4), 0u);
  vmsrs_guest_cpu cpu;
  for (const std::uint64_t sequence : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}})
    BOOST_CHECK(!ring->read_cpu(sequence, 0, cpu));
}

BOOST_FIXTURE_TEST_CASE(the_oldest_are_overwritten, Ring) {
  constexpr std::uint64_t kWritten = VMSRS_GUEST_ENDS_KEPT + 3;
  for (std::uint64_t i = 0; i < kWritten; ++i) add(VMSRS_GUEST_PANIC);
  std::uint64_t cursor = 0;
  BOOST_CHECK_EQUAL(read(cursor, 3), 3u);
  BOOST_CHECK_EQUAL(ends[0].sequence, 4u);
  BOOST_CHECK_EQUAL(cursor, 7u);
  BOOST_CHECK_EQUAL(read(cursor, 16), VMSRS_GUEST_ENDS_KEPT - 3);
  BOOST_CHECK_EQUAL(ends[VMSRS_GUEST_ENDS_KEPT - 4].sequence, kWritten);
  BOOST_CHECK_EQUAL(read(cursor, 16), 0u);
  vmsrs_guest_cpu cpu;
  BOOST_CHECK(!ring->read_cpu(3, 0, cpu));
  BOOST_REQUIRE(ring->read_cpu(4, 1, cpu));
  BOOST_CHECK_EQUAL(cpu.rip, 401u);
  BOOST_REQUIRE(ring->read_cpu(kWritten, 0, cpu));
  BOOST_CHECK_EQUAL(cpu.rip, 100 * kWritten);
  BOOST_CHECK(!ring->read_cpu(kWritten, 2, cpu));
  BOOST_CHECK(!ring->read_cpu(kWritten + 1, 0, cpu));
}

// Also those whose records are gone.
BOOST_FIXTURE_TEST_CASE(all_are_counted, Ring) {
  add(VMSRS_GUEST_SHUTDOWN);
  for (std::uint64_t i = 0; i < VMSRS_GUEST_ENDS_KEPT; ++i) add(VMSRS_GUEST_HANG);
  std::uint64_t cursor = VMSRS_GUEST_ENDS_KEPT + 1;
  BOOST_REQUIRE_EQUAL(read(cursor, 1), 1u);
  BOOST_CHECK_EQUAL(ends[0].counts[VMSRS_GUEST_SHUTDOWN], 1u);
  BOOST_CHECK_EQUAL(ends[0].counts[VMSRS_GUEST_HANG], VMSRS_GUEST_ENDS_KEPT);
  BOOST_CHECK_EQUAL(ends[0].counts[VMSRS_GUEST_PANIC], 0u);
}
