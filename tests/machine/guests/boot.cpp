// SPDX-License-Identifier: Apache-2.0
#include <cpuid.h>
#include <signal.h>

#include <fstream>
#include <string>

#include "guest.hpp"

// Stock Linux is up on all processors, and each of them is below the hypervisor.
void test_boot() {
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  EXPECT_EQUAL(cpus, guest::machine_number("cpus"));
  for (int cpu = 0; cpu < cpus; ++cpu) {
    guest::pin_to(cpu);
    EXPECT(guest::has_signature());
    guest::Call version{.number = VMSRS_CALL_VERSION};
    EXPECT_EQUAL(guest::hypercall(version), std::uint64_t{VMSRS_OK});
    EXPECT_EQUAL(version.rdx, std::uint64_t{VMSRS_ABI_VERSION});
    EXPECT_EQUAL(version.rsi, std::uint64_t{VMSRS_ISOLATION_HYPERVISOR});
    guest::Call unknown{.number = 0xfffff};
    EXPECT_EQUAL(guest::hypercall(unknown), std::uint64_t{VMSRS_UNKNOWN_CALL});
  }
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __cpuid(VMSRS_CPUID_VERSION_LEAF, eax, ebx, ecx, edx);
  EXPECT_EQUAL(eax, VMSRS_ABI_VERSION);
  const std::uint64_t token = guest::open_management();
  EXPECT_EQUAL(guest::stats(token).cpu_count, static_cast<std::uint32_t>(cpus));
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const vmsrs_exits exits = guest::exits(token, static_cast<std::uint64_t>(cpu));
    EXPECT(exits.count[VMSRS_EXIT_CPUID] > 0);
    EXPECT(exits.cycles[VMSRS_EXIT_CPUID] > 0);
    std::printf("CPU %d: vmmcall %llu cpuid %llu msr %llu apic %llu nmi %llu other %llu\n", cpu,
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_VMMCALL]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_CPUID]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_MSR]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_APIC]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_NMI]),
                static_cast<unsigned long long>(exits.count[VMSRS_EXIT_OTHER]));
  }
  vmsrs_check_report report{};
  guest::Call check{.number = VMSRS_CALL_MGMT_CHECK,
                    .rdi = token,
                    .rsi = 1,
                    .rdx = reinterpret_cast<std::uint64_t>(&report),
                    .r10 = sizeof(report)};
  std::uint64_t status = guest::hypercall(check);
  while (status == VMSRS_AGAIN) {
    check = {.number = VMSRS_CALL_MGMT_CHECK,
             .rdi = token,
             .rsi = 0,
             .rdx = reinterpret_cast<std::uint64_t>(&report),
             .r10 = sizeof(report)};
    status = guest::hypercall(check);
  }
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_OK});
  EXPECT_EQUAL(report.results[VMSRS_CHECK_HIDDEN].verdict, std::uint32_t{VMSRS_VERDICT_OK});
  EXPECT(report.results[VMSRS_CHECK_HIDDEN].examined_count > 100);
  // No device has sent an INIT, so nobody has seen what becomes of one.
  EXPECT_EQUAL(std::uint64_t{report.results[VMSRS_CHECK_HIDDEN].detail},
               std::uint64_t{VMSRS_DETAIL_INIT_UNVERIFIED});
}

// What the hypervisor has logged since it was started, and which memory it says is its own.
void test_log_and_memory() {
  const std::uint64_t token = guest::open_management();
  vmsrs_log_line lines[8];
  std::string text;
  std::uint64_t next = 0, first = 0, last_ns = 0;
  for (;;) {
    guest::Call log{.number = VMSRS_CALL_MGMT_LOG,
                    .rdi = token,
                    .rsi = next,
                    .rdx = reinterpret_cast<std::uint64_t>(lines),
                    .r10 = sizeof(lines)};
    EXPECT_EQUAL(guest::hypercall(log), std::uint64_t{VMSRS_OK});
    if (log.rdx == 0) break;
    if (first == 0) first = lines[0].sequence;
    for (std::uint64_t i = 0; i < log.rdx; ++i) {
      EXPECT(lines[i].time_ns >= last_ns);
      last_ns = lines[i].time_ns;
      text.append(lines[i].text, lines[i].length).append("\n");
    }
    next = log.rsi;
  }
  EXPECT_EQUAL(first, std::uint64_t{1});
  EXPECT(text.starts_with("hypervisor, ABI "));
  EXPECT(text.find("hidden 0x") != std::string::npos);
  EXPECT(last_ns <= guest::stats(token).uptime_ns);

  vmsrs_memory_range ranges[VMSRS_MAX_MEMORY_RANGES];
  guest::Call memory{.number = VMSRS_CALL_MGMT_MEMORY,
                     .rdi = token,
                     .rsi = reinterpret_cast<std::uint64_t>(ranges),
                     .rdx = sizeof(ranges)};
  EXPECT_EQUAL(guest::hypercall(memory), std::uint64_t{VMSRS_OK});
  std::uint64_t hidden = 0, storage = 0, windows = 0;
  for (std::uint64_t i = 0; i < memory.rdx; ++i) {
    const std::uint64_t bytes = ranges[i].end - ranges[i].begin;
    if (ranges[i].use == VMSRS_MEMORY_WINDOWS) windows += bytes;
    if (ranges[i].use == VMSRS_MEMORY_STORAGE) storage += bytes;
    if (ranges[i].use <= VMSRS_MEMORY_STORAGE) hidden += bytes;
  }
  EXPECT_EQUAL(hidden, guest::stats(token).hidden_bytes);
  EXPECT(storage >= guest::stats(token).storage_bytes);
  EXPECT(windows >= VMSRS_MAX_SERVERS * VMSRS_WINDOW_BYTES);
  EXPECT(guest::stats(token).cycles_per_second > 100'000'000);
}

// Linux has chosen its own place, physical and virtual, as it does on a machine of its own. That
// both are the unmoved ones by chance: one in some hundred thousand boots.
void test_kaslr() {
  constexpr std::uint64_t kUnmoved = 0x1000000, kUnmovedVirtual = 0xffffffff81000000;
  std::ifstream options("/proc/cmdline");
  std::string word;
  while (options >> word) EXPECT(word != "nokaslr");
  const auto code = guest::iomem("Kernel code");
  EXPECT(code.size() == 1);
  std::ifstream symbols("/proc/kallsyms");
  std::uint64_t text = 0;
  for (std::string line; std::getline(symbols, line);) {
    if (line.ends_with(" _text")) text = std::stoull(line, nullptr, 16);
  }
  EXPECT(text != 0);
  std::printf("kernel at %#llx, virtual %#llx\n", static_cast<unsigned long long>(code[0].begin),
              static_cast<unsigned long long>(text));
  EXPECT(code[0].begin != kUnmoved || text != kUnmovedVirtual);
}

// Two NUMA nodes, as the firmware's tables have them, each with its half of the processors.
void test_numa() {
  for (const char* node : {"node0", "node1"}) {
    const std::string folder = std::string("/sys/devices/system/node/") + node + "/";
    std::ifstream list(folder + "cpulist"), memory(folder + "meminfo");
    std::string cpus, word;
    std::uint64_t total = 0;
    EXPECT(std::getline(list, cpus) && !cpus.empty());
    while (memory >> word && word != "MemTotal:") {
    }
    EXPECT(memory >> total && total > 0);
    std::printf("%s: CPUs %s, %llu KiB\n", node, cpus.c_str(),
                static_cast<unsigned long long>(total));
  }
}

// The hypervisor has given up and started Linux alone: nothing of it is there, and the command line
// says why.
void test_native() {
  EXPECT(!guest::has_signature());
  EXPECT_EQUAL(sysconf(_SC_NPROCESSORS_ONLN), guest::machine_number("cpus"));
  EXPECT_EQUAL(guest::in_child([] {
                 asm volatile("vmmcall");
                 return 0;
               }),
               -SIGILL);
  std::ifstream options("/proc/cmdline");
  std::string text;
  std::getline(options, text);
  EXPECT(text.starts_with("vmsrs.fallback=\""));
  std::printf("native: %s\n", text.substr(0, text.find('"', sizeof("vmsrs.fallback="))).c_str());
}

// The guest's processor has no SVM, x2APIC or broadcast invalidation.
void test_svm_hidden() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __cpuid(0x80000001, eax, ebx, ecx, edx);
  EXPECT((ecx & (1u << 2)) == 0);
  __cpuid(1, eax, ebx, ecx, edx);
  EXPECT((ecx & (1u << 21)) == 0);
  EXPECT((ecx & (1u << 31)) != 0);
  __cpuid(0x80000008, eax, ebx, ecx, edx);
  EXPECT((ebx & (1u << 3)) == 0);
  __cpuid(0x8000000a, eax, ebx, ecx, edx);
  EXPECT_EQUAL(eax | ebx | ecx | edx, 0u);
  __cpuid(VMSRS_CPUID_VERSION_LEAF + 1, eax, ebx, ecx, edx);
  EXPECT_EQUAL(eax | ebx | ecx | edx, 0u);
  EXPECT_EQUAL(guest::in_child([] {
                 asm volatile("vmrun %%rax" ::"a"(0x1000ul));
                 return 0;
               }),
               -SIGILL);
  EXPECT_EQUAL(guest::in_child([] {
                 asm volatile("vmsave %%rax" ::"a"(0x1000ul));
                 return 0;
               }),
               -SIGILL);
  EXPECT_EQUAL(guest::in_child([] {
                 asm volatile("stgi");
                 return 0;
               }),
               -SIGILL);
  // An ordinary #GP still arrives as one.
  EXPECT_EQUAL(guest::in_child([] {
                 asm volatile("hlt");
                 return 0;
               }),
               -SIGSEGV);
}
