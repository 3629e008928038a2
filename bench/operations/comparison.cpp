// SPDX-License-Identifier: Apache-2.0
// How fast sweeps and scrubs look at memory that is as it should be.
#include <cstring>

#include "operations.hpp"
#include "recovery/bytes.hpp"

namespace vmsrs::bench {
namespace {

// No cache holds both sides.
const std::size_t kBytes = (quick() ? 4 : 64) * std::size_t{1024 * 1024};

void must_be_equal(bool equal) {
  if (!equal) give_up("a region and its copy differ");
}

// Piece by piece, as SERVICE has it done; each piece by what hosted and svm call for it.
double engine_ns(const std::byte* region, const std::byte* mirror) {
  return time_each(1, [=] {
    for (std::size_t at = 0; at < kBytes; at += VMSRS_MAX_RANGE_BYTES)
      must_be_equal(recovery::same_bytes(region + at, mirror + at, VMSRS_MAX_RANGE_BYTES) ==
                    VMSRS_MAX_RANGE_BYTES);
  });
}

double memcmp_ns(const std::byte* region, const std::byte* mirror) {
  return time_each(1, [=] { must_be_equal(std::memcmp(region, mirror, kBytes) == 0); });
}

}  // namespace

void comparison(HostedBench& bench) {
  const auto* const region = reinterpret_cast<const std::byte*>(HostedBench::memory(kBytes, true));
  const auto* const mirror = reinterpret_cast<const std::byte*>(HostedBench::memory(kBytes, false));
  std::vector<double> ratios, scrubs, whole;
  for (unsigned round = 0; round < rounds(60); ++round) {
    const bool first = round % 2 == 0;
    const double before = first ? memcmp_ns(region, mirror) : 0;
    const double engine = engine_ns(region, mirror);
    const double plain = first ? before : memcmp_ns(region, mirror);
    ratios.push_back(plain / engine);
    whole.push_back(plain);
    scrubs.push_back(time_each(1, [&] { bench.scrub(); }));
  }
  report("memcmp_gib_per_s", static_cast<double>(kBytes) / median(whole) * 1e9 / (1 << 30), "GiB/s",
         "memcmp over a region and as many bytes elsewhere");
  report("scrub_gib_per_s", static_cast<double>(kBytes) / median(scrubs) * 1e9 / (1 << 30), "GiB/s",
         "a whole scrub by the service thread, a call for each 64 KiB");
  report("sweep_memcmp_ratio", median(ratios), "",
         "the engine's comparison of the same bytes, in pieces of 64 KiB, over memcmp's speed");
}

}  // namespace vmsrs::bench
