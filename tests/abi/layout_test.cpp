// SPDX-License-Identifier: Apache-2.0
#include "layout.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <type_traits>

namespace {

constexpr layout_line kLines[] = {
#include "golden.inc"
};

}  // namespace

BOOST_AUTO_TEST_CASE(cpp_layout_is_golden) {
  for (const layout_line& line : kLines)
    BOOST_TEST(line.actual == line.golden, line.name << " is " << line.actual << " in C++");
}

BOOST_AUTO_TEST_CASE(c_layout_is_golden) {
  std::size_t count = 0;
  const layout_line* const lines = layout_in_c(&count);
  BOOST_TEST(count == std::size(kLines));
  for (std::size_t i = 0; i < count; ++i)
    BOOST_TEST(lines[i].actual == lines[i].golden, lines[i].name << " is " << lines[i].actual);
}

BOOST_AUTO_TEST_CASE(strings_are_golden) {
  BOOST_TEST(VMSRS_CPUID_SIGNATURE == "VMSRSVMSRSVM");
  BOOST_TEST(sizeof VMSRS_WINDOW_MARK == 16u);
  constexpr std::uint64_t buckets[] = VMSRS_SUPPRESSION_BUCKETS_MS;
  BOOST_TEST(std::size(buckets) + 1 ==
             std::extent_v<decltype(vmsrs_server_info::suppression_histogram)>);
}

// The signature as the twelve bytes of EBX, ECX, EDX; the magic as text in memory.
BOOST_AUTO_TEST_CASE(magic_reads_as_text) {
  const std::uint64_t magic = VMSRS_WINDOW_MAGIC;
  BOOST_TEST(std::memcmp(&magic, "VMSRSW1", 8) == 0);
}
