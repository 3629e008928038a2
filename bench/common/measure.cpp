// SPDX-License-Identifier: Apache-2.0
#include "measure.hpp"

#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace vmsrs::bench {

double cpu_seconds(pid_t process) {
  clockid_t clock;
  timespec used{};
  if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

double waited_seconds(pid_t process) {
  std::error_code none;
  double nanoseconds = 0;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, none)) {
    double ran = 0;
    double waited = 0;
    std::ifstream(task.path() / "schedstat") >> ran >> waited;
    nanoseconds += waited;
  }
  return nanoseconds / 1e9;
}

void pin_to(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    std::fprintf(stderr, "bench: cannot run on processor %u alone: figures will wander\n", cpu);
}

bool quick() {
  static const bool value = [] {
    const char* const text = std::getenv("VMSRS_BENCH_QUICK");
    return text != nullptr && std::strcmp(text, "1") == 0;
  }();
  return value;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void report(const char* name, double value, const char* unit, const char* text) {
  std::printf("%s\t%.6g\t%s\t%s\n", name, value, unit, text);
  std::fflush(stdout);
}

}  // namespace vmsrs::bench
