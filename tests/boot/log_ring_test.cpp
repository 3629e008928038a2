// SPDX-License-Identifier: Apache-2.0
#include "svm/log_ring.hpp"

#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>

using vmsrs::svm::LogRing;

namespace {

struct Log {
  std::unique_ptr<LogRing> ring = std::make_unique<LogRing>();
  vmsrs_log_line line{};

  void add(const std::string& text) {
    ring->add(VMSRS_LOG_WARNING, 3, 1000 + text.size(), text.data(), text.size());
  }
  std::string text() const { return {line.text, line.length}; }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_line_is_what_was_written, Log) {
  BOOST_TEST(!ring->read(0, line));
  BOOST_TEST(!ring->read(1, line));
  add("first");
  BOOST_REQUIRE(ring->read(1, line));
  BOOST_TEST(text() == "first");
  BOOST_TEST(line.sequence == 1u);
  BOOST_TEST(line.time_ns == 1005u);
  BOOST_TEST(line.cpu == 3u);
  BOOST_TEST(line.level == VMSRS_LOG_WARNING);
  BOOST_TEST(!ring->read(2, line));
}

BOOST_FIXTURE_TEST_CASE(the_oldest_are_overwritten, Log) {
  const std::uint64_t count = 2 * LogRing::kLines + 7;
  for (std::uint64_t i = 1; i <= count; ++i) add(std::to_string(i));
  BOOST_TEST(ring->oldest() == count - LogRing::kLines + 1);
  BOOST_TEST(!ring->read(ring->oldest() - 1, line));
  for (std::uint64_t i = ring->oldest(); i <= count; ++i) {
    BOOST_REQUIRE(ring->read(i, line));
    BOOST_TEST(line.sequence == i);
    BOOST_TEST(text() == std::to_string(i));
  }
  BOOST_TEST(!ring->read(count + 1, line));
}

BOOST_FIXTURE_TEST_CASE(a_long_line_is_cut_off, Log) {
  add(std::string(1000, 'x'));
  add("short");
  BOOST_REQUIRE(ring->read(1, line));
  BOOST_TEST(text() == std::string(VMSRS_LOG_TEXT_BYTES, 'x'));
  BOOST_REQUIRE(ring->read(2, line));
  BOOST_TEST(text() == "short");
}
