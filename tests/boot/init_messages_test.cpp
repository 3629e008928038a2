// SPDX-License-Identifier: Apache-2.0
// Which stores could bring an INIT past the hypervisor, and what #SX means: decisions whose
// machines are not to be had, or not in all forms.
#include <boost/test/unit_test.hpp>
#include <svm/init_messages.hpp>

using namespace vmsrs::svm;

BOOST_AUTO_TEST_CASE(io_apic_entries_that_deliver_init) {
  for (std::uint32_t entry = 0; entry < 120; ++entry) {
    const std::uint32_t low = kIoApicFirstEntry + 2 * entry;
    for (const std::uint32_t others : {0u, 0x30u, 0x800u, 0x8000u, 0x10000u, 0xfffff8ffu}) {
      for (std::uint32_t mode = 0; mode < 8; ++mode) {
        const bool allowed = may_store_to_io_apic(kIoApicData, low, (others & ~0x700u) | mode << 8);
        BOOST_TEST(allowed == (mode != 5), "entry " << entry << " mode " << mode);
      }
    }
    // The destination's word has no delivery mode.
    BOOST_TEST(may_store_to_io_apic(kIoApicData, low + 1, 0xff000500));
  }
  // A chip takes eight bits of the index.
  BOOST_TEST(!may_store_to_io_apic(kIoApicData, 0x110, 0x500));
  // Its number and version are no entries.
  for (std::uint32_t index = 0; index < kIoApicFirstEntry; ++index)
    BOOST_TEST(may_store_to_io_apic(kIoApicData, index, 0x500));
}

BOOST_AUTO_TEST_CASE(io_apic_registers_by_their_exact_offsets) {
  for (std::uint32_t offset = 0; offset < 4096; offset += 16) {
    const bool known = offset == 0 || offset == 0x10 || offset == 0x40;
    BOOST_TEST(may_store_to_io_apic(offset, 0x10, 0x30) == known);
    BOOST_TEST(may_store_to_io_apic(offset, 0x10, 0x500) == (known && offset != 0x10));
  }
}

BOOST_AUTO_TEST_CASE(local_apic_registers) {
  const auto is_entry = [](std::uint32_t o) {
    return o == 0x2f0 || (o >= 0x320 && o <= 0x370) || (o >= 0x500 && o < 0x540);
  };
  for (std::uint32_t offset = 0; offset < 4096; offset += 16) {
    for (std::uint32_t mode = 0; mode < 8; ++mode) {
      const bool expected = offset >= 0x80 && !(is_entry(offset) && mode == 5);
      BOOST_TEST(may_store_to_apic(offset, mode << 8 | 0x10000) == expected,
                 offset << " mode " << mode);
    }
  }
}

BOOST_AUTO_TEST_CASE(security_exceptions) {
  BOOST_TEST((what_is(1) == SecurityException::kRedirectedInit));
  for (const std::uint64_t code :
       {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{0x101}, ~std::uint64_t{0}})
    BOOST_TEST((what_is(code) == SecurityException::kGuests));
}
