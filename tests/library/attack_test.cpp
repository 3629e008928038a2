// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/internal.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// The paper, 5.1.2: a user that goes wrong writes over everything in its process that has to do
// with recovery, before it faults, or after. What it wrote to the region must be undone all the
// same.
using namespace vmsrs::test;

namespace {

struct Patient : AttachedServer {
  Patient() : AttachedServer(1'000'000, 60'000) {}
};

std::size_t list(vmsrs_internal_range (&ranges)[24]) {
  const std::size_t count = vmsrs_internal_ranges(ranges, 24);
  BOOST_REQUIRE_GE(count, 6u);
  BOOST_REQUIRE_LE(count, 24u);
  return count;
}

// Every byte, each with a store of its own: where it may not be written that is a fault each time.
// What the thread is standing on in a handler is left alone: the signal stack, while it is in use.
void scribble(bool writable_ones, bool read_only_ones, std::uint8_t value) {
  vmsrs_internal_range ranges[24];
  const std::size_t count = list(ranges);
  for (std::size_t i = 0; i < count; ++i) {
    if (!(ranges[i].writable ? writable_ones : read_only_ones)) continue;
    if (std::strcmp(ranges[i].name, "attach gate") == 0 && value == 0) continue;
    auto* const bytes = static_cast<volatile std::uint8_t*>(ranges[i].address);
    for (std::size_t at = 0; at < ranges[i].bytes; ++at) bytes[at] = value;
  }
}

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(attack, Patient)

BOOST_AUTO_TEST_CASE(what_is_writable_is_named_so) {
  vmsrs_internal_range ranges[24];
  const std::size_t count = list(ranges);
  bool control = false, window = false;
  for (std::size_t i = 0; i < count; ++i) {
    control |= std::strcmp(ranges[i].name, "control page") == 0 && !ranges[i].writable;
    window |= std::strcmp(ranges[i].name, "window") == 0 && !ranges[i].writable;
  }
  BOOST_CHECK(control);
  BOOST_CHECK(window);
}

BOOST_AUTO_TEST_CASE(scribbling_before_the_fault) {
  for (const int value : {0xff, 0x00, 0x41}) {
    const int outcome = run([&] {
      vmsrs::store(&words()[0], std::uint64_t{666});
      vmsrs_fill_range(&words()[100], 0x66, 4000);
      scribble(true, false, static_cast<std::uint8_t>(value));
      fault(wild());
      vmsrs::store(&words()[1], std::uint64_t{666});
      std::thread([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u); }).join();
    });
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    BOOST_CHECK(is_pristine());
  }
}

BOOST_AUTO_TEST_CASE(scribbling_after_the_fault) {
  for (const int value : {0xff, 0x00, 0x41}) {
    const int outcome = run([&] {
      vmsrs::store(&words()[0], std::uint64_t{666});
      fault(wild());
      scribble(true, false, static_cast<std::uint8_t>(value));
      fault(wild());
      std::thread([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u); }).join();
    });
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    BOOST_CHECK(is_pristine());
  }
}

// 16,384 bytes that cannot be written: as many faults, each one stepped over.
BOOST_AUTO_TEST_CASE(writing_to_what_is_read_only) {
  const int outcome = run([&] {
    vmsrs::store(&words()[0], std::uint64_t{666});
    scribble(false, true, 0x41);
    std::thread([&] { BOOST_CHECK_EQUAL(vmsrs::load(&words()[0]), 1u); }).join();
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK(is_pristine());
  BOOST_CHECK_GE(server_info().faults[VMSRS_FAULT_WILD], 16'384u);
}

// A thread that has scribbled and finishes is nobody's harm either. Nobody can say any more what it
// stored, where that leaves its traces in this memory only, nor what was to wait for its end: it is
// told.
BOOST_AUTO_TEST_CASE(scribbling_and_finishing) {
  const int outcome = run([&] {
    vmsrs::store(&words()[0], std::uint64_t{10});
    scribble(true, false, 0x41);
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(words()[0], 1u);
  BOOST_CHECK_EQUAL(run([&] { fault(wild()); }), VMSRS_SUPPRESSED);
}

BOOST_AUTO_TEST_SUITE_END()
