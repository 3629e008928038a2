// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include "guest.hpp"

namespace {

bool set_online(int cpu, bool online) {
  std::ofstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online");
  file << (online ? '1' : '0') << std::flush;
  return file.good();
}

}  // namespace

// A processor that Linux takes down and brings back comes back below the hypervisor: its CPUID is
// answered by it, and its own exits go on being counted.
void test_offline() {
  const std::uint64_t token = guest::open_management();
  const int last = static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)) - 1;
  EXPECT(last >= 1);
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    guest::pin_to(0);
    EXPECT(set_online(last, false));
    EXPECT_EQUAL(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)), last);
    EXPECT(guest::has_signature());
    EXPECT(set_online(last, true));
    const auto before = guest::exits(token, static_cast<std::uint64_t>(last));
    guest::pin_to(last);
    for (int i = 0; i < 100; ++i) EXPECT(guest::has_signature());
    const auto after = guest::exits(token, static_cast<std::uint64_t>(last));
    EXPECT(after.count[VMSRS_EXIT_CPUID] >= before.count[VMSRS_EXIT_CPUID] + 100);
    EXPECT(after.count[VMSRS_EXIT_NMI] > static_cast<std::uint64_t>(round));
  }
  std::printf("%d rounds offline and online\n", kRounds);
}
