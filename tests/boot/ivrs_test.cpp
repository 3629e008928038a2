// SPDX-License-Identifier: Apache-2.0
#include "boot/ivrs.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

using namespace vmsrs;

namespace {

using Table = std::vector<std::uint8_t>;
constexpr std::uint64_t kRegisters = 0xfeb80000;
constexpr std::uint64_t kFewRegisters = 16 * 1024, kManyRegisters = 512 * 1024;

template <typename T>
void put(Table& table, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    table.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i)));
}

Table header() { return Table(48); }

// A block for a unit, of any of its kinds, with these device entries.
void put_unit(Table& table, std::uint8_t kind, std::uint64_t registers, bool counters,
              const Table& devices = {}) {
  const bool extended = kind != 0x10;
  put<std::uint8_t>(table, kind);
  put<std::uint8_t>(table, 0x0b);  // flags
  put<std::uint16_t>(table, static_cast<std::uint16_t>((extended ? 40u : 24u) + devices.size()));
  put<std::uint16_t>(table, 2);     // its own device number
  put<std::uint16_t>(table, 0x40);  // its capability
  put<std::uint64_t>(table, registers);
  put<std::uint32_t>(table, 0);  // segment, information
  put<std::uint32_t>(table, counters && !extended ? 2u << 13 : 0);
  if (extended) {
    put<std::uint64_t>(table, counters ? 1u << 9 : 0);
    put<std::uint64_t>(table, 0);
  }
  table.insert(table.end(), devices.begin(), devices.end());
}

// In memory of exactly its size, so that a sanitizer sees what is read beyond.
std::unique_ptr<svm::IommuList> read(const Table& table) {
  auto list = std::make_unique<svm::IommuList>();
  const std::unique_ptr<std::uint8_t[]> bytes(new std::uint8_t[table.size()]);
  std::copy(table.begin(), table.end(), bytes.get());
  boot::read_ivrs(bytes.get(), table.size(), *list);
  return list;
}

std::uint8_t setting_of(const svm::IommuList& list, std::uint16_t device) {
  std::uint8_t bits = 0;
  for (std::uint32_t i = 0; i < list.setting_count; ++i)
    if (list.settings[i].first <= device && device <= list.settings[i].last)
      bits = static_cast<std::uint8_t>(bits | list.settings[i].bits);
  return bits & svm::kSystemManagement;
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_unit) {
  Table table = header();
  put_unit(table, 0x10, kRegisters, false, {1, 0, 0, 0});
  const auto list = read(table);
  BOOST_REQUIRE_EQUAL(list->count, 1u);
  BOOST_CHECK_EQUAL(list->units[0].registers.begin, kRegisters);
  BOOST_CHECK_EQUAL(list->units[0].registers.bytes(), kFewRegisters);
  BOOST_CHECK_EQUAL(list->units[0].link_flags, 0x0b);
  BOOST_CHECK(!list->incomplete);
}

// Firmwares describe a unit once for each generation of systems.
BOOST_AUTO_TEST_CASE(a_unit_that_is_there_three_times) {
  for (const bool counters : {false, true}) {
    Table table = header();
    for (const std::uint8_t kind : std::array<std::uint8_t, 3>{0x10, 0x11, 0x40})
      put_unit(table, kind, kRegisters, counters && kind != 0x10);
    put_unit(table, 0x10, kRegisters + kManyRegisters, true);
    const auto list = read(table);
    BOOST_REQUIRE_EQUAL(list->count, 2u);
    BOOST_CHECK_EQUAL(list->units[0].registers.bytes(), counters ? kManyRegisters : kFewRegisters);
    BOOST_CHECK_EQUAL(list->units[1].registers.bytes(), kManyRegisters);
  }
}

BOOST_AUTO_TEST_CASE(other_blocks_are_passed_over) {
  Table table = header();
  put<std::uint8_t>(table, 0x21);  // memory that a device must reach
  put<std::uint8_t>(table, 0);
  put<std::uint16_t>(table, 32);
  table.resize(table.size() + 28);
  put_unit(table, 0x11, kRegisters, false);
  const auto list = read(table);
  BOOST_CHECK_EQUAL(list->count, 1u);
  BOOST_CHECK(!list->incomplete);
}

BOOST_AUTO_TEST_CASE(settings_of_devices) {
  Table named = {240, 0x33, 0x00, 0x20};  // an ACPI device with a name of five letters
  named.resize(20);
  named.insert(named.end(), {2, 5, 'n', 'a', 'm', 'e', 's'});
  Table devices = {2,  0x10, 0x00, 0x10,                    // one
                   2,  0x11, 0x00, 0x07,                    // about interrupts only
                   3,  0x20, 0x00, 0x30, 4, 0x2f, 0x00, 0,  // from, to
                   0,  0,    0,    0,                       // padding
                   72, 0,    0,    0x10, 0, 0xa0, 0x00, 1,  // an I/O APIC
                   67, 0x40, 0x00, 0x20, 0, 1,    0,    0,
                   4,  0x41, 0,    0};  // from, under another's name
  devices.insert(devices.end(), named.begin(), named.end());
  devices.insert(devices.end(), {70, 0x50, 0x00, 0x10, 0, 0, 0, 0});
  Table table = header();
  put_unit(table, 0x40, kRegisters, false, devices);
  const auto list = read(table);
  const auto expect = [&](std::uint16_t device, int bits) {
    BOOST_CHECK_MESSAGE(setting_of(*list, device) == bits,
                        "device " << device << ": " << int{setting_of(*list, device)});
  };
  expect(0x0f, 0);
  expect(0x10, 0x10);
  expect(0x11, 0);
  expect(0x1f, 0);
  expect(0x20, 0x30);
  expect(0x2f, 0x30);
  expect(0x30, 0);
  expect(0xa0, 0x10);
  expect(0x40, 0x20);
  expect(0x41, 0x20);
  expect(0x33, 0x20);
  expect(0x50, 0x10);
}

BOOST_AUTO_TEST_CASE(all_devices) {
  Table table = header();
  put_unit(table, 0x10, kRegisters, false, {1, 0, 0, 0x30});
  const auto list = read(table);
  for (const std::uint16_t device : std::array<std::uint16_t, 3>{0, 0x1234, 0xffff})
    BOOST_CHECK_EQUAL(setting_of(*list, device), 0x30);
}

// Of what is not known nobody may say that it holds its devices.
BOOST_AUTO_TEST_CASE(what_is_cut_off_is_not_known) {
  Table whole = header();
  put_unit(whole, 0x10, kRegisters, false, {2, 0x10, 0, 0x10});
  const std::size_t first = whole.size();
  put_unit(whole, 0x11, kRegisters + kManyRegisters, false, {2, 0x20, 0, 0x10});
  for (std::size_t bytes = 48; bytes < whole.size(); ++bytes) {
    const auto list =
        read(Table(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)));
    const bool at_an_end = bytes == 48 || bytes == first;
    BOOST_CHECK_MESSAGE(list->incomplete != at_an_end, bytes << " bytes");
    BOOST_CHECK_EQUAL(list->count, bytes < first ? 0u : 1u);
  }
  BOOST_CHECK_EQUAL(read(whole)->count, 2u);
}

BOOST_AUTO_TEST_CASE(more_than_fits_is_not_known) {
  Table table = header();
  for (std::uint64_t i = 0; i <= svm::IommuList::kCapacity; ++i)
    put_unit(table, 0x10, kRegisters + i * kManyRegisters, false);
  const auto list = read(table);
  BOOST_CHECK_EQUAL(list->count, std::uint32_t{svm::IommuList::kCapacity});
  BOOST_CHECK(list->incomplete);
}

BOOST_AUTO_TEST_CASE(any_bytes) {
  std::mt19937 random(1);
  unsigned units = 0;
  for (int round = 0; round < 20'000; ++round) {
    Table table = header();
    const std::size_t blocks = random() % 4;
    for (std::size_t i = 0; i < blocks; ++i) {
      Table devices(random() % 64);
      for (std::uint8_t& byte : devices)
        byte = static_cast<std::uint8_t>(random() >> (random() % 24));
      put_unit(table, std::array<std::uint8_t, 4>{0x10, 0x11, 0x40, 0x20}[random() % 4],
               random() % 4 * kManyRegisters, random() % 2 != 0, devices);
    }
    for (unsigned damage = random() % 4; damage > 0; --damage)
      table[random() % table.size()] = static_cast<std::uint8_t>(random());
    const auto list = read(table);
    units += list->count;
    BOOST_REQUIRE_LE(list->count, std::uint32_t{svm::IommuList::kCapacity});
    BOOST_REQUIRE_LE(list->setting_count, std::uint32_t{svm::IommuList::kSettingCapacity});
  }
  BOOST_CHECK_GT(units, 10'000u);
}
