// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace vmsrs::bench {

struct Point {
  std::size_t region_bytes;
  unsigned users;    // over time; up to kMostWaiting of them unfinished while it is measured
  unsigned threads;  // that requests come from
  unsigned crashed;  // users that have crashed and are not collected
  bool tries;        // a point of the time model as well
};
constexpr unsigned kMostWaiting = 1000;

// The common work under VMSRS beside the same without, and what a fault costs.
void measure_ours(const Point& point);

}  // namespace vmsrs::bench
