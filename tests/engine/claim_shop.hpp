// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "probe.hpp"
#include "support/claim_server.hpp"

namespace vmsrs::test {

// A server with two regions with claims, of granules of 64 and of 8 bytes, and some of its threads.
struct ClaimShop : ClaimServer {
  explicit ClaimShop(bool eager = false)
      : ClaimServer({{8192, 64, true, eager}, {4096, 8, true, eager}}) {}
  ClaimThread a{*this, 0xa000}, b{*this, 0xb000}, c{*this, 0xc000};

  std::uint64_t word(std::size_t at, std::size_t number = 0) const {
    std::uint64_t value;
    std::memcpy(&value, region(number) + at, sizeof value);
    return value;
  }
  std::uint64_t mirror(std::size_t at, std::size_t number = 0) const {
    std::uint64_t value;
    std::memcpy(&value, recovery::EngineProbe::ledger(0).regions[number].mirror + at, 8);
    return value;
  }
  vmsrs_tag_kind kind(std::size_t granule, std::size_t number = 0) const {
    return recovery::claimant_of(claim(number, granule).tag, granule).kind;
  }
  static void bury(ClaimThread& user) {
    BOOST_TEST(user.end() == VMSRS_CRASHED);
    BOOST_TEST(user.collect() == VMSRS_OK);
  }
};

}  // namespace vmsrs::test
