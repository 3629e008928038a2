// SPDX-License-Identifier: Apache-2.0
#include "boot/multiboot.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace vmsrs::boot;

namespace {

constexpr std::uint32_t kOne = 0x2badb002, kTwo = 0x36d76289;
constexpr std::uint64_t kMiB = 1u << 20;
using Bytes = std::vector<std::uint8_t>;

template <typename T>
void put(Bytes& bytes, T value) {
  const auto* const from = reinterpret_cast<const std::uint8_t*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(T));
}
void put(Bytes& bytes, const std::string& text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.push_back(0);
}

struct MapEntry {
  std::uint64_t base, bytes;
  std::uint32_t type;
};
const std::vector<MapEntry> kMap = {{0, 0xa0000, 1},
                                    {kMiB, 511 * kMiB, 1},
                                    {100 * kMiB, kMiB, 2},        // inside a usable one
                                    {512 * kMiB, 512 * kMiB, 1},  // goes on where another ended
                                    {1024 * kMiB, kMiB, 20},      // a type that Linux does not know
                                    {4096 * kMiB, 2048 * kMiB, 1}};

struct Random {
  std::mt19937 engine{1};
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine()); }
};

std::unique_ptr<BootInformation> fresh() { return std::make_unique<BootInformation>(); }

// What either protocol has told: the same.
void expect_whole(const BootInformation& information) {
  BOOST_CHECK_EQUAL(information.options.c_str(), "hidden=64M");
  BOOST_CHECK_EQUAL(information.linux_options.c_str(), "console=ttyS0 quiet");
  BOOST_REQUIRE_EQUAL(information.module_count, 3u);
  BOOST_CHECK_EQUAL(information.modules[kInitrdModule].begin, 0x3000000u);
  BOOST_CHECK_EQUAL(information.modules[kInitrdModule].bytes(), 0x5000u);
  std::vector<MapEntry> map;
  for (const MemoryRange& range : information.memory)
    map.push_back({range.begin, range.end - range.begin, range.type});
  const std::vector<MapEntry> wanted = {{0, 0xa0000, 1},        {kMiB, 99 * kMiB, 1},
                                        {100 * kMiB, kMiB, 2},  {101 * kMiB, 923 * kMiB, 1},
                                        {1024 * kMiB, kMiB, 2}, {4096 * kMiB, 2048 * kMiB, 1}};
  BOOST_REQUIRE_EQUAL(map.size(), wanted.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    BOOST_CHECK_EQUAL(map[i].base, wanted[i].base);
    BOOST_CHECK_EQUAL(map[i].bytes, wanted[i].bytes);
    BOOST_CHECK_EQUAL(map[i].type, wanted[i].type);
  }
}

// --- multiboot 2: tags in a row ---

struct TwoTable {
  Bytes bytes = Bytes(8);
  void tag(std::uint32_t type, const Bytes& body) {
    put(bytes, type);
    put(bytes, static_cast<std::uint32_t>(8 + body.size()));
    bytes.insert(bytes.end(), body.begin(), body.end());
    bytes.resize((bytes.size() + 7) & ~std::size_t{7});
  }
  void module(std::uint32_t begin, std::uint32_t end, const std::string& text) {
    Bytes body;
    put(body, begin);
    put(body, end);
    put(body, text);
    tag(3, body);
  }
  void command_line(const std::string& text) {
    Bytes body;
    put(body, text);
    tag(1, body);
  }
  void map(const std::vector<MapEntry>& entries, std::uint32_t entry_bytes = 24) {
    Bytes body;
    put(body, entry_bytes);
    put(body, 0u);
    for (const MapEntry& entry : entries) {
      const std::size_t begin = body.size();
      put(body, entry.base);
      put(body, entry.bytes);
      put(body, entry.type);
      body.resize(begin + entry_bytes);
    }
    tag(6, body);
  }
  void root_pointer(std::uint32_t type, std::size_t size, std::uint8_t fill) {
    tag(type, Bytes(size, fill));
  }
  Bytes finish(bool with_end = true) {
    if (with_end) tag(0, {});
    const auto total = static_cast<std::uint32_t>(bytes.size());
    std::memcpy(bytes.data(), &total, sizeof(total));
    return bytes;
  }
};

TwoTable whole_two() {
  TwoTable table;
  table.command_line("hidden=64M");
  table.module(0x2000000, 0x2800000, "console=ttyS0 quiet");
  table.module(0x3000000, 0x3005000, "");
  table.module(0x4000000, 0x4200000, "");
  table.map(kMap);
  return table;
}

// In memory of exactly its size, so that a sanitizer sees what is read beyond. Aligned as loaders
// do.
const char* read_two(const Bytes& table, BootInformation& out) {
  const std::unique_ptr<std::uint64_t[]> memory(new std::uint64_t[(table.size() + 7) / 8]);
  std::memcpy(memory.get(), table.data(), table.size());
  return copy_multiboot(kTwo, reinterpret_cast<std::uint64_t>(memory.get()), out);
}

std::string problem_of(const Bytes& table) {
  const auto out = fresh();
  const char* const problem = read_two(table, *out);
  return problem == nullptr ? "" : problem;
}

// --- multiboot 1: 32-bit addresses everywhere ---

class LowMemory {
 public:
  static constexpr std::size_t kBytes = 1u << 16;
  LowMemory()
      : memory_(static_cast<std::uint8_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0))) {
    BOOST_REQUIRE(memory_ != MAP_FAILED);
  }
  ~LowMemory() { munmap(memory_, kBytes); }
  LowMemory(const LowMemory&) = delete;
  LowMemory& operator=(const LowMemory&) = delete;
  std::uint32_t add(const Bytes& bytes) {
    const std::size_t place = used_;
    std::copy(bytes.begin(), bytes.end(), memory_ + place);
    used_ = (used_ + bytes.size() + 15) & ~std::size_t{15};
    return static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(memory_ + place));
  }
  std::uint32_t add(const std::string& text) {
    Bytes bytes;
    put(bytes, text);
    return add(bytes);
  }

 private:
  std::uint8_t* memory_;
  std::size_t used_ = 0;
};

struct OneTable {
  LowMemory memory;
  std::string loader = "GRUB 2.06", file_name;  // QEMU has a file's name in front of strings
  Bytes map;

  void add_to_map(const std::vector<MapEntry>& entries) {
    for (const MapEntry& entry : entries) {
      put(map, std::uint32_t{20});
      put(map, entry.base);
      put(map, entry.bytes);
      put(map, entry.type);
    }
  }
  std::uint32_t finish(std::uint32_t flags = 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9) {
    Bytes modules;
    for (const auto& [begin, end, text] :
         {std::tuple{0x2000000u, 0x2800000u, "console=ttyS0 quiet"},
          std::tuple{0x3000000u, 0x3005000u, ""}, std::tuple{0x4000000u, 0x4200000u, ""}}) {
      put(modules, begin);
      put(modules, end);
      put(modules, memory.add(file_name + text));
      put(modules, 0u);
    }
    Bytes information;
    put(information, flags);
    information.resize(16);
    put(information, memory.add(file_name + "hidden=64M"));
    put(information, 3u);
    put(information, memory.add(modules));
    information.resize(44);
    put(information, static_cast<std::uint32_t>(map.size()));
    put(information, memory.add(map));
    information.resize(64);
    put(information, memory.add(loader));
    return memory.add(information);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(protocol_2) {
  const auto information = fresh();
  BOOST_CHECK(read_two(whole_two().finish(), *information) == nullptr);
  expect_whole(*information);
  BOOST_CHECK_EQUAL(information->root_pointer.bytes, 0u);
  BOOST_CHECK(!information->uefi);
  BOOST_CHECK(information->screen.kind == Screen::Kind::kText);
}

BOOST_AUTO_TEST_CASE(protocol_1) {
  for (const bool is_qemu : {false, true}) {
    OneTable table;
    table.add_to_map(kMap);
    if (is_qemu) {
      table.loader = "qemu";
      table.file_name = "/some/where ";
    }
    const auto information = fresh();
    BOOST_CHECK(copy_multiboot(kOne, table.finish(), *information) == nullptr);
    expect_whole(*information);
  }
}

BOOST_AUTO_TEST_CASE(another_loader) {
  BOOST_CHECK_EQUAL(copy_multiboot(0x12345678, 0, *fresh()),
                    "not started by a multiboot boot loader");
}

// Entries of the future may be longer than ours.
BOOST_AUTO_TEST_CASE(longer_map_entries) {
  TwoTable longer;
  longer.map(kMap, 40);
  const auto information = fresh();
  BOOST_CHECK(read_two(longer.finish(), *information) == nullptr);
  BOOST_CHECK_EQUAL(information->memory.count(), 6u);
}

BOOST_AUTO_TEST_CASE(uefi) {
  TwoTable table = whole_two();
  table.root_pointer(15, 36, 2);  // the newer root pointer wins, in either order
  table.root_pointer(14, 20, 1);
  table.tag(12, Bytes(8));
  const auto information = fresh();
  BOOST_CHECK(read_two(table.finish(), *information) == nullptr);
  BOOST_CHECK(information->uefi);
  BOOST_CHECK_EQUAL(information->root_pointer.bytes, 36u);
  BOOST_CHECK_EQUAL(information->root_pointer.data[35], 2);
  // No VGA text there, unless the loader says so.
  BOOST_CHECK(information->screen.kind == Screen::Kind::kNone);

  TwoTable running = whole_two();
  running.tag(18, {});
  BOOST_CHECK_EQUAL(problem_of(running.finish()),
                    "the boot loader left the firmware's boot services running");
}

BOOST_AUTO_TEST_CASE(pixels) {
  Bytes body;
  put(body, std::uint64_t{0xc0000000});
  put(body, std::uint32_t{4096});
  put(body, std::uint32_t{1024});
  put(body, std::uint32_t{768});
  for (const std::uint8_t byte : std::array<std::uint8_t, 10>{32, 1, 0, 0, 16, 8, 8, 8, 0, 8})
    put(body, byte);
  TwoTable table = whole_two();
  table.tag(8, body);
  const auto information = fresh();
  BOOST_CHECK(read_two(table.finish(), *information) == nullptr);
  const Screen& screen = information->screen;
  BOOST_CHECK(screen.kind == Screen::Kind::kPixels);
  BOOST_CHECK_EQUAL(screen.address, 0xc0000000u);
  BOOST_CHECK_EQUAL(screen.pitch, 4096u);
  BOOST_CHECK_EQUAL(screen.width, 1024u);
  BOOST_CHECK_EQUAL(screen.height, 768u);
  BOOST_CHECK_EQUAL(int{screen.bits}, 32);
  BOOST_CHECK_EQUAL(int{screen.colours[1]}, 16);  // red
  BOOST_CHECK_EQUAL(int{screen.colours[5]}, 0);   // blue
}

BOOST_AUTO_TEST_CASE(clear_words) {
  TwoTable no_map;
  no_map.command_line("hidden=64M");
  BOOST_CHECK_EQUAL(problem_of(no_map.finish()), "the boot loader gave no memory map");
  TwoTable long_options = whole_two();
  long_options.command_line(std::string(1025, 'x'));
  BOOST_CHECK_EQUAL(problem_of(long_options.finish()),
                    "the hypervisor's command line is longer than 1024 characters");
  TwoTable long_linux;
  long_linux.module(0, 1, std::string(2049, 'x'));
  BOOST_CHECK_EQUAL(problem_of(long_linux.finish()),
                    "the kernel's command line is longer than 2048 characters");
  TwoTable full;
  std::vector<MapEntry> many;
  for (std::uint64_t i = 0; i < 200; ++i) many.push_back({i * 2 * kMiB, kMiB, 1});
  full.map(many);
  BOOST_CHECK_EQUAL(problem_of(full.finish()), "the memory map has too many entries");
  BOOST_CHECK_EQUAL(copy_multiboot(kOne, OneTable().finish(1u << 2), *fresh()),
                    std::string("the boot loader gave no memory map"));
}

BOOST_AUTO_TEST_CASE(damage_that_is_seen) {
  const std::string damaged = "the boot loader's information is damaged";
  BOOST_CHECK_EQUAL(problem_of(whole_two().finish(false)), damaged);  // no end
  TwoTable backwards;
  backwards.module(0x2000, 0x1000, "");
  BOOST_CHECK_EQUAL(problem_of(backwards.finish()), damaged);
  TwoTable around;
  around.map({{~std::uint64_t{0} - 10, 100, 1}});
  BOOST_CHECK_EQUAL(problem_of(around.finish()), damaged);
  TwoTable short_entries;
  short_entries.map({}, 8);
  BOOST_CHECK_EQUAL(problem_of(short_entries.finish()), damaged);
  TwoTable endless;  // a text without its end, up to the tag's
  endless.tag(1, Bytes(8, 'x'));
  BOOST_CHECK_EQUAL(problem_of(endless.finish()), damaged);
}

// Cut off anywhere: never read beyond, always said.
BOOST_AUTO_TEST_CASE(cut_off_anywhere) {
  const Bytes whole = whole_two().finish();
  for (std::uint32_t bytes = 8; bytes < whole.size(); ++bytes) {
    Bytes part(whole.begin(), whole.begin() + bytes);
    std::memcpy(part.data(), &bytes, sizeof(bytes));
    BOOST_CHECK_MESSAGE(!problem_of(part).empty(), bytes << " bytes");
  }
}

BOOST_AUTO_TEST_CASE(any_bytes) {
  Random random;
  unsigned read_whole = 0;
  for (int round = 0; round < 50'000; ++round) {
    TwoTable table = whole_two();
    for (unsigned more = random() % 4; more > 0; --more) {
      Bytes body(random() % 64);
      for (std::uint8_t& byte : body) byte = static_cast<std::uint8_t>(random() >> (random() % 24));
      table.tag(random() % 22, body);
    }
    Bytes bytes = table.finish();
    for (unsigned damage = random() % 4; damage > 0; --damage)
      bytes[4 + random() % (bytes.size() - 4)] = static_cast<std::uint8_t>(random());
    const auto out = fresh();
    read_whole += read_two(bytes, *out) == nullptr;
    BOOST_REQUIRE_LE(out->module_count, std::uint32_t{kModuleCount});
    std::uint64_t last = 0;
    for (const MemoryRange& range : out->memory) {
      BOOST_REQUIRE_LE(last, range.begin);
      BOOST_REQUIRE_LT(range.begin, range.end);
      last = range.end;
    }
  }
  BOOST_CHECK_GT(read_whole, 5'000u);
}

// The map of protocol 1, whose entries name their own lengths.
BOOST_AUTO_TEST_CASE(any_map_of_protocol_1) {
  Random random;
  unsigned read_whole = 0;
  for (int round = 0; round < 2'000; ++round) {
    OneTable table;
    table.add_to_map(kMap);
    for (unsigned damage = 1 + random() % 3u; damage > 0; --damage)
      table.map[random() % table.map.size()] = static_cast<std::uint8_t>(random());
    table.map.resize(table.map.size() - random() % 24);
    const auto out = fresh();
    read_whole += copy_multiboot(kOne, table.finish(), *out) == nullptr;
    BOOST_REQUIRE_LE(out->memory.count(), std::size_t{MemoryMap::kCapacity});
  }
  BOOST_CHECK_GT(read_whole, 1'000u);
}
