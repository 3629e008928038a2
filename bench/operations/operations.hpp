// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "arms.hpp"
#include "hosted_bench.hpp"
#include "measure.hpp"

// One function for each figure about single operations. Each reports its key, and what helps to
// read it. All need an attached process; each leaves nothing profiled behind.
namespace vmsrs::bench {

void load_normal(HostedBench& bench);
void load_suppression(HostedBench& bench);
void store_owned(HostedBench& bench);
void claim(HostedBench& bench);
void commit_granule(HostedBench& bench);
void hosted_trap(HostedBench& bench);
void restore(HostedBench& bench);
void fault(HostedBench& bench);
void comparison(HostedBench& bench);
void memory_use(HostedBench& bench);

}  // namespace vmsrs::bench
