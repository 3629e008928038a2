// SPDX-License-Identifier: Apache-2.0
// Which writes to ports reset the machine, put it to sleep or switch it off; what the firmware's
// tables tell of that.
#include "svm/power_ports.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <memory>
#include <string>
#include <vector>

#include "boot/fadt.hpp"

using namespace vmsrs;
using svm::PowerChange;

BOOST_TEST_DONT_PRINT_LOG_VALUE(PowerChange)

namespace {

using Table = std::vector<std::uint8_t>;

svm::PowerPorts ports() {
  svm::PowerPorts result;
  result.sleep[0] = {0x605, 5};
  result.sleep[1] = {0x705, 6};
  result.off_known = true;
  result.reset_port = 0xb2f;
  result.reset_value = 0x0e;
  return result;
}

PowerChange change(std::uint16_t port, std::uint8_t bytes, std::uint32_t value,
                   const svm::PowerPorts& of = ports()) {
  return svm::power_change({port, bytes, value}, of);
}

// Both kinds of read, in memory of exactly the table's size.
template <class Read>
svm::PowerPorts read(const Table& table, Read read_table) {
  const std::unique_ptr<std::uint8_t[]> bytes(new std::uint8_t[table.size()]);
  std::copy(table.begin(), table.end(), bytes.get());
  svm::PowerPorts result;
  read_table(bytes.get(), table.size(), result);
  return result;
}

void put(Table& table, std::size_t at, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes && at + i < table.size(); ++i)
    table[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

void put_port(Table& table, std::size_t at, std::uint8_t space, std::uint64_t address) {
  put(table, at, space, 1);
  put(table, at + 4, address, 8);
}

Table fadt(std::size_t bytes = 244) {
  Table table(bytes);
  put(table, 40, 0x7fe0000, 4);
  put(table, 64, 0x604, 4);
  put(table, 112, 1u << 10, 4);
  put_port(table, 116, 1, 0xcf9);
  put(table, 128, 0x0f, 1);
  return table;
}

// A table of definitions with `code` behind its header; it adds up to zero.
Table definitions(const std::string& code) {
  Table table(36);
  for (const char c : code) table.push_back(static_cast<std::uint8_t>(c));
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : table) sum = static_cast<std::uint8_t>(sum + byte);
  table[9] = static_cast<std::uint8_t>(-sum);
  return table;
}

std::string text(const char* from, std::size_t bytes) { return {from, bytes}; }
#define AML(bytes) text(bytes, sizeof(bytes) - 1)

}  // namespace

BOOST_AUTO_TEST_CASE(resets) {
  for (const unsigned command : {0xfeu, 0xf0u, 0xf2u, 0xfcu})
    BOOST_CHECK(change(0x64, 1, command) == PowerChange::kReset);
  for (const unsigned command : {0xffu, 0xf1u, 0xd1u, 0x20u, 0xaau, 0xe0u})
    BOOST_CHECK(change(0x64, 1, command) == PowerChange::kNone);
  BOOST_CHECK(change(0x92, 1, 0x03) == PowerChange::kReset);
  BOOST_CHECK(change(0x92, 1, 0x02) == PowerChange::kNone);  // A20
  BOOST_CHECK(change(0xcf9, 1, 0x02) == PowerChange::kNone);
  BOOST_CHECK(change(0xcf9, 1, 0x06) == PowerChange::kReset);
  BOOST_CHECK(change(0xcf8, 4, 0x80000400) == PowerChange::kNone);  // configuration space
  BOOST_CHECK(change(0xcf8, 2, 0x0400) == PowerChange::kReset);
  BOOST_CHECK(change(0xb2f, 1, 0x0e) == PowerChange::kReset);
  BOOST_CHECK(change(0xb2f, 1, 0x0f) == PowerChange::kNone);
  BOOST_CHECK(change(0x80, 1, 0xff) == PowerChange::kNone);
}

// By whichever instruction: the byte that a port gets counts.
BOOST_AUTO_TEST_CASE(wide_writes) {
  BOOST_CHECK(change(0x63, 2, 0xfe00) == PowerChange::kReset);
  BOOST_CHECK(change(0x61, 4, 0xfe000000) == PowerChange::kReset);
  BOOST_CHECK(change(0x65, 2, 0xfefe) == PowerChange::kNone);
  BOOST_CHECK(change(0x604, 2, 5u << 10 | 1u << 13) == PowerChange::kOff);
  BOOST_CHECK(change(0x604, 4, 5u << 10 | 1u << 13) == PowerChange::kOff);
  BOOST_CHECK(change(0x604, 1, 0xff) == PowerChange::kNone);  // its lower half
}

BOOST_AUTO_TEST_CASE(sleep_is_not_off) {
  for (unsigned type = 0; type < 8; ++type) {
    const auto byte = static_cast<std::uint8_t>(type << 2 | 1u << 5);
    BOOST_CHECK(change(0x605, 1, byte) == (type == 5 ? PowerChange::kOff : PowerChange::kSleep));
    BOOST_CHECK(change(0x705, 1, byte) == (type == 6 ? PowerChange::kOff : PowerChange::kSleep));
    BOOST_CHECK(change(0x605, 1, type << 2) == PowerChange::kNone);  // only chosen
  }
  svm::PowerPorts unknown = ports();
  unknown.off_known = false;
  BOOST_CHECK(change(0x605, 1, 5u << 2 | 1u << 5, unknown) == PowerChange::kSleep);
  BOOST_CHECK(change(0x0, 1, 0x34, svm::PowerPorts{}) == PowerChange::kNone);
}

BOOST_AUTO_TEST_CASE(the_fixed_table) {
  const svm::PowerPorts found = read(fadt(), boot::read_fadt);
  BOOST_CHECK_EQUAL(found.sleep[0].port, 0x605);
  BOOST_CHECK_EQUAL(found.sleep[1].port, 0);
  BOOST_CHECK_EQUAL(found.reset_port, 0xcf9);
  BOOST_CHECK_EQUAL(found.reset_value, 0x0f);
  Table table = fadt();
  put_port(table, 172, 1, 0x804);  // the wide register counts, if it is a port
  put_port(table, 184, 0, 0xfed80804);
  put(table, 68, 0x904, 4);
  put_port(table, 116, 0, 0xfed80cf9);
  const svm::PowerPorts wide = read(table, boot::read_fadt);
  BOOST_CHECK_EQUAL(wide.sleep[0].port, 0x805);
  BOOST_CHECK_EQUAL(wide.sleep[1].port, 0x905);
  BOOST_CHECK_EQUAL(wide.reset_port, 0);
  put(table, 112, 0, 4);  // there is no reset register
  put_port(table, 116, 1, 0xcf9);
  BOOST_CHECK_EQUAL(read(table, boot::read_fadt).reset_port, 0);
  const svm::PowerPorts old = read(fadt(116), boot::read_fadt);  // of ACPI 1.0
  BOOST_CHECK_EQUAL(old.sleep[0].port, 0x605);
  BOOST_CHECK_EQUAL(old.reset_port, 0);
  for (const std::size_t bytes : {0, 36, 66, 115, 117, 173})
    (void)read(fadt(bytes), boot::read_fadt);
}

BOOST_AUTO_TEST_CASE(where_the_definitions_are) {
  Table table = fadt();
  BOOST_CHECK_EQUAL(boot::definitions_of(table.data(), table.size()), 0x7fe0000u);
  put(table, 140, 0x7fd0000, 8);
  BOOST_CHECK_EQUAL(boot::definitions_of(table.data(), table.size()), 0x7fd0000u);
  put(table, 140, 0x107fd0000, 8);  // cannot be read at boot
  BOOST_CHECK_EQUAL(boot::definitions_of(table.data(), table.size()), 0x7fe0000u);
}

BOOST_AUTO_TEST_CASE(types_of_off) {
  const auto types = [](const std::string& code) {
    return read(definitions(code), boot::read_off_types);
  };
  // Name (_S5, Package (4) { 5, 6, 0, 0 }), as iasl writes it
  svm::PowerPorts found = types(AML("xy\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00"));
  BOOST_CHECK(found.off_known);
  BOOST_CHECK_EQUAL(found.sleep[0].off_type, 5);
  BOOST_CHECK_EQUAL(found.sleep[1].off_type, 6);
  found = types(AML("\x08\\_S5_\x12\x06\x04\x00\x01\x00\x00"));  // QEMU's manner of numbers
  BOOST_CHECK(found.off_known);
  BOOST_CHECK_EQUAL(found.sleep[0].off_type, 0);
  BOOST_CHECK_EQUAL(found.sleep[1].off_type, 1);
  found = types(AML("\x08_S5_\x12\x48\x00\x04\x0a\x07\x01"));  // a length of two bytes
  BOOST_CHECK(found.off_known);
  BOOST_CHECK_EQUAL(found.sleep[0].off_type, 7);
  // Another state, a method, a name that is only mentioned, an element that is no number.
  for (const std::string& code :
       {AML("\x08_S4_\x12\x06\x04\x01\x01\x00\x00"), AML("\x14\x06_S5_\x00\x0a\x05"),
        AML("_S5_\x12\x06\x04\x01\x01"), AML("\x08_S5_\x12\x06\x04\x0c\x01\x01\x00\x00")})
    BOOST_CHECK(!types(code).off_known);
  // Cut off anywhere.
  const std::string whole = AML("\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06");
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
    BOOST_CHECK(!types(whole.substr(0, bytes)).off_known);
}

BOOST_AUTO_TEST_CASE(sleep_states_are_hidden) {
  const std::string code =
      AML("\x08_S3_\x12\x06\x04\x01\x01\x00\x00\x08\\_S4_\x12\x06\x04\x0a\x02"
          "\x08_S5_\x12\x06\x04\x00\x00 \x14\x06_S1_\x00\x08_S0_\x12\x02\x00");
  Table table = definitions(code);
  BOOST_CHECK_EQUAL(boot::hide_sleep_states(table.data(), table.size()), 2u);
  const std::string after(table.begin() + 36, table.end());
  BOOST_CHECK(after.find("\x08XS3_") != std::string::npos);
  BOOST_CHECK(after.find("\x08\\XS4_") != std::string::npos);
  BOOST_CHECK(after.find("_S5_") != std::string::npos && after.find("_S1_") != std::string::npos &&
              after.find("_S0_") != std::string::npos);
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : table) sum = static_cast<std::uint8_t>(sum + byte);
  BOOST_CHECK_EQUAL(sum, 0);
  BOOST_CHECK_EQUAL(boot::hide_sleep_states(table.data(), table.size()), 0u);
}
