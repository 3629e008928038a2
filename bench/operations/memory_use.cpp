// SPDX-License-Identifier: Apache-2.0
// What VMSRS adds in memory: recovery storage of the engine, and whatever the library holds.
#include <cstdio>

#include "operations.hpp"

namespace vmsrs::bench {
namespace {

std::uint64_t resident_bytes() {
  unsigned long size = 0;
  unsigned long resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%lu %lu", &size, &resident) != 2)
    give_up("cannot read /proc/self/statm");
  std::fclose(file);
  return resident * std::uint64_t{VMSRS_PAGE_BYTES};
}

}  // namespace

void memory_use(HostedBench& bench) {
  constexpr std::size_t kBytes = 64 * 1024 * 1024;
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t storage = bench.info().storage_used_bytes;
  auto* const bytes = reinterpret_cast<std::byte*>(HostedBench::memory(kBytes, true));
  // Every granule has been written once by a user that finished.
  for (std::size_t at = 0; at < kBytes; at += VMSRS_MAX_RANGE_BYTES) {
    vmsrs_user_begin(at / VMSRS_MAX_RANGE_BYTES + 1);
    vmsrs_fill_range(bytes + at, 2, VMSRS_MAX_RANGE_BYTES);
    vmsrs_user_end();
  }
  // The engine may have written for us: what counts is what is resident once it is all in use.
  for (std::size_t at = 0; at < kBytes; at += VMSRS_PAGE_BYTES)
    Plain::load(reinterpret_cast<const std::uint64_t*>(bytes + at));
  const auto hidden = static_cast<double>(bench.info().storage_used_bytes - storage);
  const auto own = static_cast<double>(resident_bytes()) - static_cast<double>(resident) - kBytes;
  report("memory_library_ratio", own / kBytes, "", "of it, in the server's own memory");
  report("memory_ratio", (hidden + own) / kBytes, "",
         "hidden and tag memory at 64-byte granules over monitored memory, 64 MiB of it");
}

}  // namespace vmsrs::bench
