// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Memory from a region (the paper's class 3): which blocks are taken is known beside the region,
// and follows users: what a user frees is free when it has finished, what it took is free again
// when it has crashed and is collected. In the region each block has a head, stored as the user's
// own, so it is committed and restored with what is in the block: a kept region's blocks are found
// by them.
namespace vmsrs::guest {

// Before a block's first byte; 16 bytes, in a granule of that block alone.
struct BlockHead {
  std::uint64_t identity;  // of this use of the block, never 0; 0: freed
  std::uint64_t size;      // bits 0..39: bytes; 40..63: the block's first byte to its user's, / 16
};

// Blocks that wait for the end of the user who freed them, of all heaps of the process: they are
// not given out before. From any thread.
std::uint64_t quarantined_frees();

// All heaps of the process are given up. No scope is open.
void forget_heaps();

}  // namespace vmsrs::guest
