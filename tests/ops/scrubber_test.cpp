// SPDX-License-Identifier: Apache-2.0
#include "daemon/scrubber.hpp"

#include <boost/test/unit_test.hpp>

#include "fake_channel.hpp"

namespace vmsrs::test {

BOOST_AUTO_TEST_SUITE(scrubber)

BOOST_AUTO_TEST_CASE(each_pass_asks_every_server_for_its_rate) {
  FakeChannel channel;
  daemon::Scrubber scrubber(channel, 4096);
  scrubber.pass();
  channel.scrubs_pending = 1;
  scrubber.pass();
  const std::vector<std::string> wanted(2, "scrub all 4096");
  BOOST_TEST(channel.calls == wanted, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_refusal_is_no_end) {
  FakeChannel channel;
  daemon::Scrubber scrubber(channel, 1);
  channel.scrub_status = VMSRS_DENIED;
  scrubber.pass();
  scrubber.pass();
  BOOST_TEST(channel.calls.size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
