// SPDX-License-Identifier: Apache-2.0
// What single operations of the public library cost. usage: bench_operations [KEY ...]
#include <cstdio>
#include <cstring>
#include <exception>

#include "operations.hpp"

namespace {

using namespace vmsrs::bench;

constexpr struct {
  const char* key;
  void (*run)(HostedBench&);
} kOperations[] = {
    {"load_normal_extra_ns", load_normal},
    {"store_owned_extra_ns", store_owned},
    {"claim_extra_ns", claim},
    {"commit_granule_ns", commit_granule},
    {"hosted_trap_ns", hosted_trap},
    {"load_suppression_extra_ns", load_suppression},
    {"restore_ns", restore},
    {"fault_ratio", fault},
    {"sweep_memcmp_ratio", comparison},
    {"memory_ratio", memory_use},
};

bool wanted(const char* key, int count, char** arguments) {
  for (int i = 1; i < count; ++i)
    if (std::strcmp(arguments[i], key) == 0) return true;
  return count == 1;
}

}  // namespace

int main(int count, char** arguments) try {
  HostedBench bench("512MiB");
  bench.attach();
  for (const auto& operation : kOperations)
    if (wanted(operation.key, count, arguments)) {
      operation.run(bench);
      if (Init_profile() != 0) give_up(vmsrs_error_message());
    }
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "bench_operations: %s\n", problem.what());
  return 1;
}
