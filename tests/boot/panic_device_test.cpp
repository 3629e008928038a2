// SPDX-License-Identifier: Apache-2.0
// The ACPI tables by which Linux finds the panic device.
#include "boot/panic_device.hpp"

#include <sys/mman.h>

#include <boost/test/unit_test.hpp>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "boot/acpi_tables.hpp"

using namespace vmsrs;
using namespace vmsrs::boot;

namespace {

// Below 4 GiB, as a firmware has them, and beside them the place of the new ones.
class Firmware {
 public:
  static constexpr std::uint32_t kEntries = 5;

  explicit Firmware(bool wide, std::uint32_t entries = kEntries)
      : memory_(static_cast<std::uint8_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0))) {
    BOOST_REQUIRE(memory_ != MAP_FAILED);
    AcpiHeader header{};
    std::memcpy(header.signature, wide ? "XSDT" : "RSDT", 4);
    header.length = static_cast<std::uint32_t>(sizeof(header)) + entries * (wide ? 8u : 4u);
    std::memcpy(header.oem, "FIRMWR", 6);
    std::memcpy(memory_, &header, sizeof(header));
    for (std::uint32_t i = 0; i < entries; ++i) {
      const std::uint64_t entry = 0x7fe0000 + 0x100 * i;
      std::memcpy(memory_ + sizeof(header) + i * (wide ? 8 : 4), &entry, wide ? 8 : 4);
    }
    auto* const pointer = reinterpret_cast<AcpiRootPointer*>(root.data);
    std::memcpy(pointer->signature, "RSD PTR ", 8);
    pointer->revision = wide ? 2 : 0;
    pointer->rsdt = wide ? 0x1234 : static_cast<std::uint32_t>(address());
    root.bytes = kOldRootPointerBytes;
    if (!wide) return;
    root.bytes = pointer->length = sizeof(*pointer);
    pointer->xsdt = address();
  }
  ~Firmware() { munmap(memory_, kBytes); }
  Firmware(const Firmware&) = delete;

  bool compose() {
    if (!compose_panic_device(root, place(), tables)) return false;
    std::memcpy(memory_ + kBytes / 2, tables.bytes, tables.used);
    return true;
  }
  std::uint64_t place() const { return address() + kBytes / 2; }
  const std::uint8_t* at(std::uint64_t place) const {
    BOOST_REQUIRE(place >= address() && place < address() + kBytes);
    return memory_ + (place - address());
  }

  RootPointer root;
  PanicDeviceTables tables;

 private:
  static constexpr std::size_t kBytes = 64 << 10;
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(memory_); }
  std::uint8_t* memory_;
};

void check(bool wide) {
  Firmware firmware(wide);
  BOOST_REQUIRE(firmware.compose());
  const auto* pointer = reinterpret_cast<const AcpiRootPointer*>(firmware.root.data);
  BOOST_CHECK_EQUAL(checksum_of(pointer, kOldRootPointerBytes), 0);
  if (wide) {
    BOOST_CHECK_EQUAL(checksum_of(pointer, sizeof(*pointer)), 0);
    BOOST_CHECK_EQUAL(std::uint32_t{pointer->rsdt}, 0x1234u);
  }
  const std::uint64_t root_at = wide ? pointer->xsdt : pointer->rsdt;
  BOOST_CHECK_EQUAL(root_at, firmware.place());
  const auto* root = reinterpret_cast<const AcpiHeader*>(firmware.at(root_at));
  BOOST_CHECK_EQUAL(checksum_of(root, root->length), 0);
  BOOST_CHECK(std::memcmp(root->signature, wide ? "XSDT" : "RSDT", 4) == 0);
  BOOST_CHECK(std::memcmp(root->oem, "FIRMWR", 6) == 0);
  const std::size_t step = wide ? 8 : 4;
  BOOST_REQUIRE_EQUAL(root->length, sizeof(*root) + (Firmware::kEntries + 1) * step);
  for (std::uint32_t i = 0; i <= Firmware::kEntries; ++i) {
    std::uint64_t entry = 0;
    std::memcpy(&entry, reinterpret_cast<const char*>(root + 1) + i * step, step);
    if (i < Firmware::kEntries) {
      BOOST_CHECK_EQUAL(entry, 0x7fe0000 + 0x100 * i);
      continue;
    }
    const auto* definition = reinterpret_cast<const AcpiHeader*>(firmware.at(entry));
    BOOST_CHECK(std::memcmp(definition->signature, "SSDT", 4) == 0);
    BOOST_CHECK_EQUAL(checksum_of(definition, definition->length), 0);
    BOOST_CHECK_EQUAL(entry + definition->length, firmware.place() + firmware.tables.used);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_more_entry_in_the_narrow_root_table) { check(false); }
BOOST_AUTO_TEST_CASE(one_more_entry_in_the_wide_root_table) { check(true); }

BOOST_AUTO_TEST_CASE(a_root_table_that_is_too_long) {
  for (const std::uint32_t entries : {2020u, 2500u}) {
    Firmware firmware(false, entries);
    const RootPointer before = firmware.root;
    BOOST_CHECK(!firmware.compose());
    BOOST_CHECK(std::memcmp(&before, &firmware.root, sizeof(before)) == 0);
  }
}

// Intel's compiler reads the definitions back as they were meant.
BOOST_AUTO_TEST_CASE(the_definitions_as_acpi_reads_them) {
  if (std::system("command -v iasl >/dev/null") != 0) {
    BOOST_TEST_MESSAGE("SKIPPED: no iasl (Debian package acpica-tools)");
    return;
  }
  Firmware firmware(false);
  BOOST_REQUIRE(firmware.compose());
  std::string folder = std::filesystem::temp_directory_path() / "panic_device.XXXXXX";
  BOOST_REQUIRE(mkdtemp(folder.data()) != nullptr);
  const auto* root = reinterpret_cast<const AcpiHeader*>(firmware.tables.bytes);
  const std::size_t at = (root->length + 15) & ~15u;
  std::ofstream(folder + "/table.aml", std::ios::binary)
      .write(reinterpret_cast<const char*>(firmware.tables.bytes) + at,
             static_cast<std::streamsize>(firmware.tables.used - at));
  const int status = std::system(("cd " + folder + " && iasl -d table.aml >log 2>&1").c_str());
  std::ifstream file(folder + "/table.dsl");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove_all(folder);
  BOOST_CHECK_EQUAL(status, 0);
  // Without comments and spaces.
  std::istringstream lines(text.substr(std::min(text.size(), text.find("DefinitionBlock"))));
  std::string code;
  for (std::string line; std::getline(lines, line);)
    for (const char c : line.substr(0, line.find("//")))
      if (std::isspace(static_cast<unsigned char>(c)) == 0) code += c;
  BOOST_CHECK_EQUAL(
      code,
      "DefinitionBlock(\"\",\"SSDT\",1,\"VMSRS\",\"PANIC\",0x00000001){Scope(\\_SB){"
      "Device(VPNC){Name(_HID,\"QEMU0001\")Name(_STA,0x0F)Name(_CRS,ResourceTemplate(){"
      "IO(Decode16,0x0505,0x0505,0x01,0x01,)})}}}");
}
