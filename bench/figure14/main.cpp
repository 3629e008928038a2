// SPDX-License-Identifier: Apache-2.0
// The paper's figure 14. usage: bench_figure14 read|write|assign|programs
#include <cstdio>
#include <exception>

#include "figure14.hpp"

int main(int count, char** arguments) try {
  using namespace vmsrs::bench;
  const std::string what = count == 2 ? arguments[1] : "";
  HostedBench bench("128MiB");
  bench.attach();
  if (what == "programs") {
    ordinary_programs();
    return 0;
  }
  if (intensive(what)) return 0;
  std::fputs("usage: bench_figure14 read|write|assign|programs\n", stderr);
  return 2;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "bench_figure14: %s\n", problem.what());
  return 1;
}
