// SPDX-License-Identifier: Apache-2.0
// What is taken for a hang, and the timer by which it is looked for, on registers of memory.
#include <boost/test/unit_test.hpp>
#include <cstdint>

#include "svm/hang_detector.hpp"
#include "svm/hpet.hpp"

using namespace vmsrs::svm;

namespace {

constexpr std::uint64_t kCanSendMessage = 1u << 15;

// An HPET at 100 MHz with three comparators.
struct Registers {
  std::uint64_t word[128] = {};

  Registers() {
    word[0] = std::uint64_t{10'000'000} << 32 | 2 << 8;  // femtoseconds; the last comparator
    word[2] = 2;                                         // legacy routing, stopped
  }
  std::uint64_t& configuration(unsigned comparator) { return word[32 + 4 * comparator]; }
  std::uint64_t& value(unsigned comparator) { return word[33 + 4 * comparator]; }
  std::uint64_t& message(unsigned comparator) { return word[34 + 4 * comparator]; }
  std::uint64_t& counter() { return word[30]; }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(word); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_a_sample_shows) {
  for (const bool waits : {false, true}) {
    BOOST_CHECK(cpu_life(true, false, waits) == CpuLife::kAlive);
    BOOST_CHECK(cpu_life(false, true, waits) == CpuLife::kHandles);
  }
  BOOST_CHECK(cpu_life(false, false, true) == CpuLife::kStuck);
  BOOST_CHECK(cpu_life(false, false, false) == CpuLife::kQuiet);  // perhaps in MWAIT
  BOOST_CHECK(life_of_both(CpuLife::kStuck, CpuLife::kAlive) == CpuLife::kAlive);
  BOOST_CHECK(life_of_both(CpuLife::kStuck, CpuLife::kQuiet) == CpuLife::kStuck);
  BOOST_CHECK(life_of_both(CpuLife::kStuck, CpuLife::kHandles) == CpuLife::kHandles);
  BOOST_CHECK(life_of_both(CpuLife::kQuiet, CpuLife::kStuck) == CpuLife::kStuck);
}

BOOST_AUTO_TEST_CASE(so_many_in_a_row) {
  HangDetector detector;
  detector.start(3);
  BOOST_CHECK(!detector.sample(CpuLife::kAlive));
  for (const CpuLife between : {CpuLife::kAlive, CpuLife::kHandles, CpuLife::kQuiet}) {
    BOOST_CHECK(!detector.sample(CpuLife::kStuck));
    BOOST_CHECK(!detector.sample(CpuLife::kStuck));
    BOOST_CHECK(!detector.sample(between));
  }
  BOOST_CHECK(!detector.sample(CpuLife::kStuck));
  BOOST_CHECK(!detector.sample(CpuLife::kStuck));
  BOOST_CHECK(detector.sample(CpuLife::kStuck));
}

BOOST_AUTO_TEST_CASE(a_guest_that_starts) {
  HangDetector detector;
  detector.start(2);
  BOOST_CHECK(!detector.sample(CpuLife::kHandles));
  for (int i = 0; i < 10; ++i) BOOST_CHECK(!detector.sample(CpuLife::kStuck));
  BOOST_CHECK(!detector.sample(CpuLife::kAlive));
  BOOST_CHECK(!detector.sample(CpuLife::kStuck));
  detector.start(2);  // once more
  for (int i = 0; i < 10; ++i) BOOST_CHECK(!detector.sample(CpuLife::kStuck));
}

BOOST_AUTO_TEST_CASE(the_timer_sends_a_message) {
  Registers registers;
  registers.configuration(0) = registers.configuration(1) = kCanSendMessage;
  registers.counter() = 0x1'ffff'fff0;  // its lower half is about to come round
  Hpet hpet;
  BOOST_REQUIRE(hpet.find(registers.address()));
  hpet.start(1000, 0xfee01000, 0x400);
  BOOST_CHECK_EQUAL(registers.word[2], 1u);
  BOOST_CHECK_EQUAL(registers.message(1), 0xfee01000'00000400u);
  BOOST_CHECK_EQUAL(registers.configuration(1) & 0x410cu, 0x4104u);  // once, of 32 bits
  BOOST_CHECK_EQUAL(registers.value(1), 100'000u - 0x10);
  BOOST_CHECK_EQUAL(registers.configuration(0), kCanSendMessage);
  BOOST_CHECK(!hpet.due());
  registers.counter() += 99'999;
  BOOST_CHECK(!hpet.due());
  registers.counter() += 1;
  BOOST_CHECK(hpet.due());
  hpet.rearm();
  BOOST_CHECK(!hpet.due());
  BOOST_CHECK_EQUAL(registers.value(1), 200'000u - 0x10);
}

BOOST_AUTO_TEST_CASE(timers_that_are_of_no_use) {
  Registers registers;
  BOOST_CHECK(!Hpet().find(registers.address()));  // no messages
  registers.configuration(3) = kCanSendMessage;    // of the three that there are
  BOOST_CHECK(!Hpet().find(registers.address()));
  registers.configuration(0) = kCanSendMessage;
  BOOST_CHECK(Hpet().find(registers.address()));
  for (const std::uint64_t period : {std::uint64_t{0}, std::uint64_t{100'000'001}}) {
    registers.word[0] = period << 32 | 2 << 8;
    BOOST_CHECK(!Hpet().find(registers.address()));
  }
  registers.word[0] = ~std::uint64_t{0};  // nothing answers
  BOOST_CHECK(!Hpet().find(registers.address()));
}
