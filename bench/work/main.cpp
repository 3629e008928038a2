// SPDX-License-Identifier: Apache-2.0
// The common work under one way of protection. usage:
//   bench_work WAY REGION_MIB [USERS THREADS CRASHED] [--try]
// with WAY ours, fork, uffd, uffd-async or mprotect. --try: also a point of the time model.
// Exit code 3: this kernel refuses that way.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "checkpoints.hpp"
#include "measure.hpp"
#include "ours.hpp"

int main(int count, char** arguments) try {
  using namespace vmsrs::bench;
  constexpr int kRefused = 3;
  const bool tries = count > 1 && std::strcmp(arguments[count - 1], "--try") == 0;
  if (tries) --count;
  const auto number = [&](int at, unsigned otherwise) {
    return at < count ? static_cast<unsigned>(std::strtoul(arguments[at], nullptr, 10)) : otherwise;
  };
  const char* const way = count > 1 ? arguments[1] : "ours";
  const std::size_t region_bytes = std::size_t{number(2, 64)} * 1024 * 1024;
  if (std::strcmp(way, "ours") == 0) {
    measure_ours({region_bytes, number(3, 1), number(4, 1), number(5, 0), tries});
    return 0;
  }
  pin_to(kServerCpu);
  return measure_checkpoints(way, region_bytes, tries) ? 0 : kRefused;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "bench_work: %s\n", problem.what());
  return 1;
}
