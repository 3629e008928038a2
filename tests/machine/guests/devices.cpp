// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

#include "guest.hpp"
#include "nvme.hpp"

// Root drives a device against what is hidden. Without an IOMMU it succeeds, which shows that the
// attack is one.
namespace {

using guest::Nvme;

constexpr std::uint64_t kPage = Nvme::kPageBytes;
constexpr std::uint64_t kTold = (std::uint64_t{1} << 48) - 1;  // of what the device has read
constexpr std::uint64_t kClockReach = 60'000;                  // ms in which this test is over
constexpr std::uint64_t kImage = 0x200000;                     // the hypervisor's code begins there
constexpr std::uint64_t kIommuRegisters = 0xfed80000;          // QEMU's

bool is_soon_after(std::uint64_t clock, std::uint64_t set) {
  return ((clock - set) & kTold) < kClockReach;
}

const volatile std::uint64_t* map_physical(std::uint64_t address) {
  const int memory = open("/dev/mem", O_RDONLY);
  void* const at = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, memory, static_cast<off_t>(address));
  close(memory);
  EXPECT(at != MAP_FAILED);
  return static_cast<const volatile std::uint64_t*>(at);
}

// A page of the windows, or of the file system that they lie in, that begins with something.
std::uint64_t find_window() {
  for (const guest::Range& range : guest::iomem("Persistent Memory (legacy)"))
    for (std::uint64_t page = range.begin; page < range.end; page += kPage) {
      const auto* const words = map_physical(page);
      const bool found = (words[0] & kTold) > kClockReach;
      munmap(const_cast<std::uint64_t*>(words), kPage);
      if (found) return page;
    }
  guest::fail("there is nothing in persistent memory");
}

// It does what this test takes it for, with memory that is its user's own.
void show_that_it_works(Nvme& device) {
  const Nvme::Page own = Nvme::make_page();
  own.words[0] = 0x112233445566;
  EXPECT(is_soon_after(device.read_from(own.physical), 0x112233445566));
  EXPECT_EQUAL(device.write_to(own.physical), 0u);
  EXPECT(own.words[0] != 0x112233445566);
}

vmsrs_check_result check_hidden(std::uint64_t token) {
  vmsrs_check_report report{};
  std::uint64_t anew = 1, status = VMSRS_AGAIN;
  for (int i = 0; i < 10'000 && status == VMSRS_AGAIN; ++i, anew = 0) {
    guest::Call call{.number = VMSRS_CALL_MGMT_CHECK,
                     .rdi = token,
                     .rsi = anew,
                     .rdx = reinterpret_cast<std::uint64_t>(&report),
                     .r10 = sizeof report};
    status = guest::hypercall(call);
  }
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_OK});
  return report.results[VMSRS_CHECK_HIDDEN];
}

}  // namespace

void test_devices() {
  const std::uint64_t token = guest::open_management();
  EXPECT_EQUAL(guest::stats(token).devices, std::uint64_t{VMSRS_DEVICES_CONFINED});
  EXPECT_EQUAL(check_hidden(token).verdict, std::uint32_t{VMSRS_VERDICT_OK});
  Nvme device;
  show_that_it_works(device);

  // Windows: read, as by everybody; not written.
  const std::uint64_t window = find_window();
  const auto* const words = map_physical(window);
  const std::uint64_t before = words[0];
  EXPECT(is_soon_after(device.read_from(window), before & kTold));
  device.write_to(window);
  EXPECT_EQUAL(std::uint64_t{words[0]}, before);

  // Hidden memory, at places all over it: neither.
  const Nvme::Page own = Nvme::make_page();
  own.words[0] = 0x665544332211;
  unsigned tried = 0;
  for (const guest::Range& range : guest::hidden_ranges(guest::stats(token).hidden_bytes))
    for (std::uint64_t at = range.begin; at < range.end; at += (range.end - range.begin) / 64) {
      device.read_from(own.physical);
      const std::uint64_t told = device.read_from(at & ~(kPage - 1));
      EXPECT(is_soon_after(told, 0) || is_soon_after(told, 0x665544332211));
      device.write_to(at & ~(kPage - 1));
      ++tried;
    }
  std::printf("%u hidden pages: the device read and wrote none of them\n", tried);
  show_that_it_works(device);

  // The unit itself: neither Linux nor root finds it.
  EXPECT(access("/sys/firmware/acpi/tables/IVRS", F_OK) != 0);
  const auto* const registers = map_physical(kIommuRegisters);
  const int reader = guest::in_child([&] {
    static_cast<void>(registers[0]);
    return 1;
  });
  EXPECT(reader == -SIGSEGV || reader == -SIGBUS);
  device.write_to(kIommuRegisters);
  EXPECT_EQUAL(check_hidden(token).verdict, std::uint32_t{VMSRS_VERDICT_OK});
}

void test_free_devices() {
  const std::uint64_t token = guest::open_management();
  EXPECT_EQUAL(guest::stats(token).devices, std::uint64_t{VMSRS_DEVICES_FREE});
  const vmsrs_check_result hidden = check_hidden(token);
  EXPECT_EQUAL(hidden.verdict, std::uint32_t{VMSRS_VERDICT_VIOLATED});
  EXPECT_EQUAL(std::uint64_t{hidden.detail}, std::uint64_t{VMSRS_DETAIL_DEVICES_FREE});
  Nvme device;
  show_that_it_works(device);
  const Nvme::Page own = Nvme::make_page();
  device.read_from(own.physical);  // zeros
  const std::uint64_t told = device.read_from(kImage);
  std::printf("the device read %#llx from the hypervisor's image\n",
              static_cast<unsigned long long>(told));
  EXPECT(!is_soon_after(told, 0));
  const std::uint64_t window = find_window();
  const auto* const words = map_physical(window);
  const std::uint64_t before = words[0];
  device.write_to(window);
  EXPECT(words[0] != before);
  std::printf("the device wrote over a window\n");
}
