// SPDX-License-Identifier: Apache-2.0
// What the hypervisor decides at boot: options, the processor, places in memory, the kernel's
// header.
#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "boot/layout.hpp"
#include "boot/options.hpp"
#include "boot/processor_problem.hpp"
#include "svm/console.hpp"
#include "svm/processor.hpp"

// The console names the processor that speaks; here is none.
constinit vmsrs::svm::Processors vmsrs::svm::processors{};

using namespace vmsrs;
using namespace vmsrs::boot;

extern "C" {
alignas(4096) char image_begin[4096], image_end[1];  // the linker's, in the hypervisor
}

namespace {

constexpr std::uint64_t kMiB = 1u << 20, kGiB = 1u << 30;
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 48;

struct Stopped : std::runtime_error {
  using runtime_error::runtime_error;
};

// What `stop` says, or nothing.
template <class Body>
std::string stop_of(Body body) {
  console::set_fallback([](const char* problem) { throw Stopped(problem); });
  try {
    body();
  } catch (const Stopped& stopped) {
    return stopped.what();
  }
  return "";
}

std::string option_error(const char* text, Options& options) {
  const OptionError error = parse_options(text, options);
  return error.what == nullptr ? "" : std::string(error.word) + ": " + error.what;
}

BootInformation machine(std::uint64_t below_4g, std::uint64_t above_4g = 0) {
  BootInformation information;
  const auto set = [&](std::uint64_t begin, std::uint64_t end, std::uint32_t type) {
    BOOST_REQUIRE(information.memory.set(begin, end, type));
  };
  set(0, 0x9f000, kUsable);
  set(kMiB, below_4g, kUsable);
  if (above_4g > 0) set(4 * kGiB, 4 * kGiB + above_4g, kUsable);
  information.module_count = kModuleCount;
  information.modules[kKernelModule] = {0x400000, 0xc00000};
  information.modules[kInitrdModule] = {0xc00000, 0xd01234};
  information.modules[kWindowsModule] = {0xe00000, 0x1000000};
  return information;
}

LinuxKernel kernel() {
  LinuxKernel result;
  result.load_address = 16 * kMiB;
  result.needed_bytes = 50 * kMiB + 123;
  result.initrd_limit = 2 * kGiB;
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(option_words) {
  Options options;
  BOOST_CHECK_EQUAL(option_error("", options), "");
  BOOST_CHECK_EQUAL(options.hidden_bytes, 64 * kMiB);
  BOOST_CHECK_EQUAL(option_error(" hidden=448G  hidden_at=0x140000000 fallback=native", options),
                    "");
  BOOST_CHECK_EQUAL(options.hidden_bytes, 448 * kGiB);
  BOOST_CHECK_EQUAL(options.hidden_place, 0x140000000u);
  BOOST_CHECK(options.native_fallback);
  BOOST_CHECK_EQUAL(option_error("hidden=4194304", options), "");
  BOOST_CHECK_EQUAL(options.hidden_bytes, 4 * kMiB);
  BOOST_CHECK_EQUAL(option_error("hidden=90%", options), "");
  BOOST_CHECK_EQUAL(options.hidden_percent, 90u);
  BOOST_CHECK_EQUAL(option_error("hidden=8M", options), "");
  BOOST_CHECK_EQUAL(options.hidden_percent, 0u);  // the last one holds
  BOOST_CHECK(!options.skips_crash_kernel);
  BOOST_CHECK_EQUAL(options.hang_seconds, 30u);
  BOOST_CHECK_EQUAL(option_error("kdump=skipped hang_seconds=6", options), "");
  BOOST_CHECK(options.skips_crash_kernel);
  BOOST_CHECK_EQUAL(options.hang_seconds, 6u);
  BOOST_CHECK_EQUAL(option_error("hang_seconds=0 kdump=first", options), "");
  BOOST_CHECK(!options.skips_crash_kernel);
  BOOST_CHECK_EQUAL(options.hang_seconds, 0u);
  BOOST_CHECK(!options.resets_when_given_up);
  BOOST_CHECK_EQUAL(option_error("give_up=reset", options), "");
  BOOST_CHECK(options.resets_when_given_up);
  BOOST_CHECK_EQUAL(option_error("give_up=halt", options), "");
  BOOST_CHECK(!options.resets_when_given_up);
  BOOST_CHECK(!options.goes_on);
  BOOST_CHECK_EQUAL(option_error("contradiction=go_on", options), "");
  BOOST_CHECK(options.goes_on);
  BOOST_CHECK_EQUAL(option_error("contradiction=park", options), "");
  BOOST_CHECK(!options.goes_on);
  for (const char* const bad : {"hidden=",
                                "hidden=3M",
                                "hidden=449G",
                                "hidden=64Q",
                                "hidden=0%",
                                "hidden=91%",
                                "hidden=5%%",
                                "hidden=99999999999999999999",
                                "hidden=-1",
                                "hidden_at=0x100000",
                                "hidden_at=200000",
                                "hidden_at=0x",
                                "hidden_at=0x10000000000000",
                                "secret_sha256=00",
                                "fallback=nativ",
                                "fallback=natively",
                                "kdump=",
                                "kdump=skip",
                                "kdump=firstly",
                                "hang_seconds=",
                                "hang_seconds=5",
                                "hang_seconds=3601",
                                "hang_seconds=99999999999",
                                "hang_seconds=30s",
                                "give_up=",
                                "give_up=resets",
                                "contradiction=",
                                "contradiction=go",
                                "contradiction=go_on_",
                                "contradiction=parked",
                                "debug_exit=0x10000",
                                "debug_exit=4",
                                "x",
                                "hidden"}) {
    const std::string error = option_error(bad, options);
    BOOST_CHECK_MESSAGE(error.starts_with(std::string(bad) + ": "), bad << " gave " << error);
  }
}

// Whatever comes first: a wrong word does not hide what to do then.
BOOST_AUTO_TEST_CASE(options_behind_a_wrong_one) {
  Options options;
  BOOST_CHECK(option_error("hiden=64M debug_exit=0xf4 alsowrong fallback=native", options)
                  .starts_with("hiden=64M: "));
  BOOST_CHECK(options.native_fallback);
  BOOST_CHECK_EQUAL(options.debug_exit_port, 0xf4);
}

// No emulator here locks SVM as firmwares do.
BOOST_AUTO_TEST_CASE(processors) {
  constexpr std::uint64_t kEnabled = 0xfee00900;
  svm::Features features;
  BOOST_CHECK_EQUAL(processor_problem(features, kEnabled), "this processor has no SVM (AMD-V)");
  features.svm = true;
  BOOST_CHECK_EQUAL(processor_problem(features, kEnabled),
                    "this processor has no execute disable (NX)");
  features.no_execute = true;
  BOOST_CHECK(processor_problem(features, kEnabled) == nullptr);
  for (const std::uint64_t base : std::array<std::uint64_t, 2>{kEnabled | 1u << 10, 0xfed00900})
    BOOST_CHECK_EQUAL(processor_problem(features, base),
                      "the firmware left the local APIC in x2APIC mode or at an unusual address");
  features.svm_disabled = true;
  BOOST_CHECK_EQUAL(processor_problem(features, kEnabled),
                    "SVM (AMD-V) is switched off in the firmware's setup");
}

BOOST_AUTO_TEST_CASE(hidden_memory_is_at_the_top) {
  Layout layout;
  LinuxKernel linux = kernel();
  choose_layout(machine(kGiB), {5 * kMiB, 64 * kMiB, 0, kNoLimit}, linux, layout);
  BOOST_CHECK_EQUAL(layout.hidden.end, kGiB);
  BOOST_CHECK_EQUAL(layout.hidden.bytes(), 70 * kMiB);
  BOOST_CHECK_EQUAL(layout.own_bytes, 6 * kMiB);
  BOOST_CHECK_EQUAL(linux.load_address, 16 * kMiB);
  Layout large;
  choose_layout(machine(2 * kGiB, 4 * kGiB), {5 * kMiB, 3 * kGiB, 0, kNoLimit}, linux, large);
  BOOST_CHECK_EQUAL(large.hidden.end, 8 * kGiB);
  BOOST_CHECK_LE(large.windows.end, 4 * kGiB);
  Layout narrow;  // a processor whose tables reach no higher
  choose_layout(machine(2 * kGiB, 4 * kGiB), {5 * kMiB, kGiB, 0, 6 * kGiB}, linux, narrow);
  BOOST_CHECK_EQUAL(narrow.hidden.end, 6 * kGiB);
}

BOOST_AUTO_TEST_CASE(hidden_memory_at_a_place) {
  LinuxKernel linux = kernel();
  const auto at = [&](std::uint64_t begin, std::uint64_t bytes) {
    return stop_of([&] {
      Layout layout;
      choose_layout(machine(2 * kGiB, 4 * kGiB), {2 * kMiB, bytes, begin, 7 * kGiB}, linux, layout);
      BOOST_CHECK_EQUAL(layout.hidden.begin, begin);
    });
  };
  BOOST_CHECK_EQUAL(at(5 * kGiB, 64 * kMiB), "");
  BOOST_CHECK_EQUAL(at(4 * kGiB, 3 * kGiB - 2 * kMiB), "");
  for (const auto& [begin, bytes] : {std::pair{4 * kGiB, 3 * kGiB},   // beyond what tables reach
                                     std::pair{3 * kGiB, 64 * kMiB},  // no memory there
                                     std::pair{2 * kGiB - 64 * kMiB, 64 * kMiB},  // not to its end
                                     std::pair{32 * kMiB, 64 * kMiB},             // the kernel's
                                     std::pair{12 * kMiB, std::uint64_t{2 * kMiB}}})  // a module's
    BOOST_CHECK(at(begin, bytes).starts_with("hidden_at="));
}

BOOST_AUTO_TEST_CASE(a_kernel_whose_place_is_taken) {
  BootInformation information = machine(kGiB);
  BOOST_REQUIRE(information.memory.set(20 * kMiB, 21 * kMiB, kReserved));
  LinuxKernel fixed = kernel();
  Layout layout;
  const HiddenMemory hidden{2 * kMiB, 64 * kMiB, 0, kNoLimit};
  BOOST_CHECK(stop_of([&] {
                choose_layout(information, hidden, fixed, layout);
              }).starts_with("too little memory: the kernel needs 0x1000000"));
  LinuxKernel movable = kernel();
  movable.alignment = 2 * kMiB;
  BOOST_CHECK_EQUAL(stop_of([&] { choose_layout(information, hidden, movable, layout); }), "");
  BOOST_CHECK_EQUAL(movable.load_address % (2 * kMiB), 0u);
  BOOST_CHECK_GT(movable.load_address, 21 * kMiB);
}

BOOST_AUTO_TEST_CASE(memory_that_the_firmware_holds) {
  LinuxKernel linux = kernel();
  Layout layout;
  for (const std::uint64_t taken : std::array<std::uint64_t, 2>{0x8000, 0x92000}) {
    BootInformation information = machine(kGiB);
    BOOST_REQUIRE(information.memory.set(taken, taken + 4096, kReserved));
    BOOST_CHECK(stop_of([&] {
                  choose_layout(information, {0, 64 * kMiB, 0, kNoLimit}, linux, layout);
                }).starts_with("the firmware holds memory that the hypervisor needs"));
  }
}

// Of any machine: nothing lies on anything else, all of it is memory, Linux is told of what is
// taken.
BOOST_AUTO_TEST_CASE(any_machine) {
  std::mt19937_64 random(1);
  unsigned fitted = 0;
  for (int round = 0; round < 3'000; ++round) {
    BootInformation information =
        machine(256 * kMiB + random() % (3 * kGiB), random() % (64 * kGiB));
    for (auto holes = random() % 6; holes > 0; --holes) {
      const std::uint64_t begin = random() % (8 * kGiB) & ~std::uint64_t{4095};
      BOOST_REQUIRE(information.memory.set(begin, begin + (1 + random() % 64) * 4096, kReserved));
    }
    LinuxKernel linux = kernel();
    if (random() % 2 != 0) linux.alignment = 2 * kMiB;
    const HiddenMemory hidden{random() % (16 * kMiB), (2 + random() % 500) * 2 * kMiB, 0,
                              64 * kGiB};
    const bool native = random() % 4 == 0;
    Layout layout;
    const std::string problem = stop_of([&] {
      if (native) {
        choose_native_layout(information, linux, layout);
      } else {
        choose_layout(information, hidden, linux, layout);
      }
    });
    if (!problem.empty()) continue;
    ++fitted;
    std::vector<svm::PhysicalRange> places = {
        layout.initrd, {linux.load_address, linux.load_address + linux.needed_bytes}};
    if (!native) {
      places.push_back(layout.hidden);
      places.push_back(layout.windows);
      places.push_back(layout.acpi_tables);
      const auto& tables = layout.acpi_tables;
      BOOST_REQUIRE(std::any_of(
          layout.linux_map.begin(), layout.linux_map.end(), [&](const MemoryRange& told) {
            return told.type == kAcpiTables && told.begin <= tables.begin && told.end >= tables.end;
          }));
      BOOST_REQUIRE_LE(tables.end, 4 * kGiB);
      BOOST_REQUIRE_GE(layout.hidden.bytes(), hidden.own_bytes + hidden.storage_bytes);
      for (const svm::PhysicalRange& range : {layout.hidden, layout.windows}) {
        BOOST_REQUIRE_EQUAL(range.begin % svm::kLargePage, 0u);
        for (const MemoryRange& told : layout.linux_map)
          BOOST_REQUIRE(told.type != kUsable || !range.overlaps(told.begin, told.end));
      }
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      BOOST_REQUIRE(information.memory.is_usable(places[i].begin, places[i].end));
      for (std::size_t j = 0; j < i; ++j)
        BOOST_REQUIRE(!places[i].overlaps(places[j].begin, places[j].end));
    }
    // The other modules' originals must outlast each other's moves.
    for (const Module& module : information.modules)
      BOOST_REQUIRE(!layout.initrd.overlaps(module.begin, module.end));
  }
  BOOST_CHECK_GT(fitted, 2'000u);
}

BOOST_AUTO_TEST_CASE(kernels) {
  std::vector<std::uint8_t> image(64 * 1024);
  const auto put = [&](std::size_t at, auto value) {
    std::memcpy(&image[at], &value, sizeof(value));
  };
  const auto problem = [&] {
    return stop_of([&] {
      const auto at = reinterpret_cast<std::uint64_t>(image.data());
      const LinuxKernel read = inspect_kernel({at, at + image.size()});
      BOOST_CHECK_EQUAL(read.code_begin + read.code_bytes, at + image.size());
      BOOST_CHECK_EQUAL(read.alignment, 0x200000u);
      BOOST_CHECK(read.takes_command_line(2047) && !read.takes_command_line(2048));
    });
  };
  BOOST_CHECK_EQUAL(problem(), "module 0 is not a Linux kernel (bzImage)");
  put(0x1f1, std::uint8_t{27});
  put(0x1fe, std::uint16_t{0xaa55});
  put(0x201, std::uint8_t{0x6a});
  put(0x202, std::uint32_t{0x53726448});  // HdrS
  put(0x206, std::uint16_t{0x20f});
  put(0x211, std::uint8_t{1});
  put(0x230, std::uint32_t{0x200000});
  put(0x234, std::uint8_t{1});
  put(0x238, std::uint32_t{2047});
  BOOST_CHECK_EQUAL(problem(), "");
  put(0x206, std::uint16_t{0x209});
  BOOST_CHECK_EQUAL(problem(), "the kernel's boot protocol is older than 2.10");
  put(0x206, std::uint16_t{0x20f});
  image.resize(28 * 512);
  BOOST_CHECK_EQUAL(problem(), "the kernel's image is cut off");
}
