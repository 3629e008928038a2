// SPDX-License-Identifier: Apache-2.0
// What only a real machine can say of the hypervisor, for deploy/hardware-report.sh: lines
// `report:`.
#include <cpuid.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "guest.hpp"

namespace {

constexpr const char* kChecks[VMSRS_CHECK_COUNT] = {"hidden", "storage",   "chains",     "users",
                                                    "mirror", "collected", "accounting", "windows"};

std::string processor_line(const std::string& name) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + "\t")) return line.substr(line.find(':') + 2);
  }
  return "not known";
}

void report_processor() {
  std::printf("report: processor: %s, family %s, model %s, stepping %s, microcode %s\n",
              processor_line("model name").c_str(), processor_line("cpu family").c_str(),
              processor_line("model").c_str(), processor_line("stepping").c_str(),
              processor_line("microcode").c_str());
}

void report_state(std::uint64_t token) {
  const vmsrs_stats stats = guest::stats(token);
  std::printf("report: ABI %#x, %u processors, %llu MiB hidden, devices %s\n", stats.abi_version,
              stats.cpu_count, static_cast<unsigned long long>(stats.hidden_bytes >> 20),
              stats.devices == VMSRS_DEVICES_CONFINED ? "confined" : "free");
}

// The least of some rounds: what others do meanwhile is not in it.
template <class Body>
std::uint64_t cycles_of(Body body) {
  constexpr int kRounds = 50, kTimes = 1000;
  std::uint64_t least = ~std::uint64_t{0};
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t begin = __rdtsc();
    for (int i = 0; i < kTimes; ++i) body();
    least = std::min<std::uint64_t>(least, (__rdtsc() - begin) / kTimes);
  }
  return least;
}

// There and back, and inside by the hypervisor's own count: the rest is the world switches'.
void report_exits(std::uint64_t token) {
  guest::pin_to(0);
  const vmsrs_exits before = guest::exits(token, 0);
  const std::uint64_t call = cycles_of([] {
    guest::Call version{.number = VMSRS_CALL_VERSION};
    guest::hypercall_once(version);
  });
  const vmsrs_exits after = guest::exits(token, 0);
  const std::uint64_t inside =
      (after.cycles[VMSRS_EXIT_VMMCALL] - before.cycles[VMSRS_EXIT_VMMCALL]) /
      (after.count[VMSRS_EXIT_VMMCALL] - before.count[VMSRS_EXIT_VMMCALL]);
  const std::uint64_t cpuid = cycles_of([] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid(1, a, b, c, d);
  });
  std::printf(
      "report: cycles of the time-stamp counter: a call %llu, of them %llu inside; CPUID %llu\n",
      static_cast<unsigned long long>(call), static_cast<unsigned long long>(inside),
      static_cast<unsigned long long>(cpuid));
}

void report_log(std::uint64_t token) {
  vmsrs_log_line lines[16];
  for (std::uint64_t next = 0;;) {
    guest::Call log{.number = VMSRS_CALL_MGMT_LOG,
                    .rdi = token,
                    .rsi = next,
                    .rdx = reinterpret_cast<std::uint64_t>(lines),
                    .r10 = sizeof(lines)};
    EXPECT_EQUAL(guest::hypercall(log), std::uint64_t{VMSRS_OK});
    if (log.rdx == 0) return;
    for (std::uint64_t i = 0; i < log.rdx; ++i)
      std::printf("report: log: %.*s\n", int{lines[i].length}, lines[i].text);
    next = log.rsi;
  }
}

void report_check(std::uint64_t token) {
  vmsrs_check_report report{};
  std::uint64_t status = VMSRS_AGAIN;
  for (std::uint64_t anew = 1; status == VMSRS_AGAIN; anew = 0) {
    guest::Call check{.number = VMSRS_CALL_MGMT_CHECK,
                      .rdi = token,
                      .rsi = anew,
                      .rdx = reinterpret_cast<std::uint64_t>(&report),
                      .r10 = sizeof(report)};
    status = guest::hypercall(check);
  }
  EXPECT_EQUAL(status, std::uint64_t{VMSRS_OK});
  bool good = true;
  for (unsigned i = 0; i < VMSRS_CHECK_COUNT; ++i) {
    const vmsrs_check_result& result = report.results[i];
    good = good && result.verdict == VMSRS_VERDICT_OK;
    const bool no_init = i == VMSRS_CHECK_HIDDEN && result.detail == VMSRS_DETAIL_INIT_UNVERIFIED;
    std::printf("report: check %s: verdict %u, %llu examined, %llu violations%s\n", kChecks[i],
                result.verdict, static_cast<unsigned long long>(result.examined_count),
                static_cast<unsigned long long>(result.violation_count),
                no_init ? ", INIT by a message unverified" : "");
  }
  EXPECT(good);
}

}  // namespace

void test_report() {
  report_processor();
  EXPECT(guest::has_signature());
  const std::uint64_t token = guest::open_management();
  report_state(token);
  report_exits(token);
  report_log(token);
  report_check(token);
}
