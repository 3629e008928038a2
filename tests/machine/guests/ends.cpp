// SPDX-License-Identifier: Apache-2.0
// How an operating system ends, and what the hypervisor knows of it afterwards: each of these is
// started a second time, where there is a second start of the guest.
#include <sys/io.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "guest.hpp"

namespace {

std::vector<vmsrs_guest_end> records(std::uint64_t token) {
  vmsrs_guest_end ends[VMSRS_GUEST_ENDS_KEPT];
  guest::Call call{.number = VMSRS_CALL_MGMT_GUEST_ENDS,
                   .rdi = token,
                   .rsi = 0,
                   .rdx = reinterpret_cast<std::uint64_t>(ends),
                   .r10 = sizeof(ends)};
  EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
  return {ends, ends + call.rdx};
}

void announce_reset(std::uint64_t token) {
  guest::Call call{.number = VMSRS_CALL_MGMT_ANNOUNCE_RESET, .rdi = token, .rsi = 1};
  EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
}

// The second start: what the first one came to.
void expect_end(std::uint64_t token, const vmsrs_guest_end& end, std::uint32_t kind) {
  EXPECT_EQUAL(end.kind, kind);
  EXPECT_EQUAL(end.start, 1u);
  EXPECT_EQUAL(guest::stats(token).guest_start, 2u);
  EXPECT(end.time_ns > 0 && end.time_ns < guest::stats(token).uptime_ns);
  EXPECT_EQUAL(end.cpu_count, static_cast<std::uint32_t>(guest::machine_number("cpus")));
  for (std::uint32_t cpu = 0; cpu < end.cpu_count; ++cpu) {
    vmsrs_guest_cpu state{};
    guest::Call call{.number = VMSRS_CALL_MGMT_GUEST_CPU,
                     .rdi = token,
                     .rsi = end.sequence,
                     .rdx = cpu,
                     .r10 = reinterpret_cast<std::uint64_t>(&state),
                     .r8 = sizeof(state)};
    EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
    EXPECT_EQUAL(state.cpu, cpu);
    EXPECT_EQUAL(state.state, std::uint32_t{VMSRS_GUEST_CPU_HELD});
    EXPECT(state.cr3 != 0 && state.rsp != 0);
    std::printf("CPU %u: rip %#llx cr3 %#llx\n", cpu, static_cast<unsigned long long>(state.rip),
                static_cast<unsigned long long>(state.cr3));
  }
}

// True: this is the second start, and all is well.
bool ended_before(std::uint64_t token, std::uint32_t kind) {
  const auto ends = records(token);
  if (!ends.empty()) {
    expect_end(token, ends.back(), kind);
    return true;
  }
  EXPECT_EQUAL(guest::stats(token).guest_start, 1u);
  EXPECT((guest::stats(token).guest_watch & VMSRS_WATCH_ENDS) != 0);
  return false;
}

std::string content(const char* name) {
  std::ifstream file(name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::uint16_t sleep_control_port() {
  const std::string fadt = content("/sys/firmware/acpi/tables/FACP");
  EXPECT(fadt.size() > 68);
  return static_cast<std::uint16_t>(static_cast<unsigned char>(fadt[64]) |
                                    static_cast<unsigned char>(fadt[65]) << 8);
}

}  // namespace

// The kernel says that it panics, by the device that its ACPI tables name.
void test_panic() {
  const std::uint64_t token = guest::open_management();
  if (ended_before(token, VMSRS_GUEST_PANIC)) return;
  EXPECT((guest::stats(token).guest_watch & VMSRS_WATCH_PANIC) != 0);
  const std::string events = content("/sys/bus/platform/devices/QEMU0001:00/events");
  std::printf("panic device: events %s", events.c_str());
  EXPECT(events == "3\n");
  std::ofstream("/proc/sysrq-trigger") << 'c';
  guest::fail("a panic was survived");
}

// With a crash kernel loaded Linux leaves the panic to it: it runs, finds no disk, and resets the
// machine. With kdump=skipped it does not come to that.
void test_kdump() {
  const char* const kdump = std::getenv("kdump");
  const bool skipped = kdump != nullptr && std::string(kdump) == "skipped";
  const std::uint64_t token = guest::open_management();
  if (ended_before(token, skipped ? VMSRS_GUEST_PANIC : VMSRS_GUEST_RESET)) return;
  EXPECT(content("/proc/cmdline").starts_with("crash_kexec_post_notifiers ") == skipped);
  const int status = std::system(
      "kexec -p -s /vmlinuz --append='console=ttyS0 panic=-1 nr_cpus=1 no_timer_check quiet'");
  EXPECT_EQUAL(status, 0);
  EXPECT(content("/sys/kernel/kexec_crash_loaded") == "1\n");
  std::ofstream("/proc/sysrq-trigger") << 'c';
  guest::fail("a panic was survived");
}

// reboot= on the kernel's command line says by which port, or by a triple fault.
void test_reset(std::uint32_t kind) {
  const std::uint64_t token = guest::open_management();
  if (ended_before(token, kind)) return;
  reboot(RB_AUTOBOOT);
  guest::fail("a reset was survived");
}

void test_announced_reset() {
  announce_reset(guest::open_management());
  reboot(RB_AUTOBOOT);
  guest::fail("a reset was survived");
}

void test_power_off() {
  reboot(RB_POWER_OFF);
  guest::fail("the machine was not switched off");
}

// The timer is the hypervisor's: Linux runs without, idle and busy, and is not taken for dead.
void test_hang_watch() {
  const std::uint64_t token = guest::open_management();
  EXPECT((guest::stats(token).guest_watch & VMSRS_WATCH_HANG) != 0);
  EXPECT(access("/sys/firmware/acpi/tables/HPET", F_OK) != 0);
  EXPECT(access("/sys/bus/acpi/devices/PNP0103:00", F_OK) != 0);
  const std::string clocks =
      content("/sys/devices/system/clocksource/clocksource0/available_clocksource");
  std::printf("clocks: %s", clocks.c_str());
  EXPECT(!clocks.empty() && clocks.find("hpet") == std::string::npos);
  const std::uint64_t before = guest::exits(token, 0).count[VMSRS_EXIT_NMI];
  sleep(5);
  const std::uint64_t samples = guest::exits(token, 0).count[VMSRS_EXIT_NMI] - before;
  std::printf("%llu samples in 5 s\n", static_cast<unsigned long long>(samples));
  EXPECT(samples >= 2);
  const std::uint64_t until = guest::stats(token).uptime_ns + 4'000'000'000;
  while (guest::stats(token).uptime_ns < until) {
  }
}

// Sleep would end outside of the hypervisor: Linux finds no states to sleep in, and nobody enters
// one.
void test_sleep() {
  EXPECT(content("/sys/power/mem_sleep").find("deep") == std::string::npos);
  EXPECT(content("/sys/power/disk").find("platform") == std::string::npos);
  const std::uint16_t port = sleep_control_port();
  EXPECT(ioperm(port, 2, 1) == 0);
  const unsigned before = inw(port);
  for (unsigned type = 1; type < 8; ++type) {  // 0 is S5 in QEMU's machines
    outw(static_cast<unsigned short>((before & 0xc3ff) | type << 10 | 1u << 13), port);
    outb(static_cast<unsigned char>(type << 2 | 1u << 5), static_cast<unsigned short>(port + 1));
  }
  EXPECT_EQUAL(static_cast<unsigned>(inw(port)), before);
}
