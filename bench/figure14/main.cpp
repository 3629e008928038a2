// SPDX-License-Identifier: Apache-2.0
// The paper's figure 14: natively over vmsrs-hosted; or, where the hypervisor is below, by counts.
// usage: bench_figure14 read|write|assign|programs
#include <cstdio>
#include <exception>
#include <memory>

#include "figure14.hpp"

namespace vmsrs::bench {

void report_comparison(const std::string& name, const Comparison& compared, double accesses,
                       double instructions_of_an_operation) {
  const bool counted = machine != nullptr;
  const auto row = [&](const char* what, double value, const char* unit, const char* text) {
    report((name + "_" + what).c_str(), value, unit, text);
  };
  row("instructions", instructions_of_an_operation / accesses, "",
      "without VMSRS, on one monitored access");
  row("ratio", compared.ratio, "",
      counted ? "instructions with VMSRS over those without" : "time with VMSRS over time without");
  if (!counted) return;
  row("plain", compared.plain, "", "instructions of an operation without VMSRS");
  row("traps", compared.traps, "", "hypercalls of an operation");
  row("library", compared.library, "", "instructions more of an operation, of the library");
  row("hypervisor", compared.hypervisor, "", "instructions of an operation, of the hypervisor");
}

namespace {

bool measure(const std::string& what) {
  if (what == "programs") {
    ordinary_programs();
    return true;
  }
  return intensive(what);
}

bool measure_natively(const std::string& what) {
  HostedBench bench("128MiB");
  bench.attach();
  return measure(what);
}

bool measure_in_machine(const std::string& what) {
  MachineBench bench;
  bench.attach();
  machine = &bench;
  return measure(what);
}

}  // namespace
}  // namespace vmsrs::bench

int main(int count, char** arguments) try {
  using namespace vmsrs::bench;
  const std::string what = count == 2 ? arguments[1] : "";
  if (MachineBench::is_here() ? measure_in_machine(what) : measure_natively(what)) return 0;
  std::fputs("usage: bench_figure14 read|write|assign|programs\n", stderr);
  return 2;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "bench_figure14: %s\n", problem.what());
  return 1;
}
