// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "granules.hpp"

// Blocks of the heap, and the sites that they were allocated at. Not thread-safe.
namespace vmsrs::study {

// Where from, innermost caller first, and how big: the power of two at or above.
struct Site {
  std::vector<std::uint64_t> callers;
  std::uint64_t size_class = 0;
  bool operator<(const Site& other) const {
    return size_class != other.size_class ? size_class < other.size_class : callers < other.callers;
  }
};

struct SiteUse {
  std::uint64_t blocks = 0, bytes = 0, live_bytes = 0;
  Use use;
};

class Allocations {
 public:
  struct Block {
    std::uint64_t bytes = 0;
    std::map<Site, SiteUse>::iterator site;
  };

  void allocated(std::uint64_t address, std::uint64_t bytes, const Site& site);
  // Its size; 0: no such block. What users did to it counts for its site.
  std::uint64_t freed(std::uint64_t address, Granules& granules);
  // At the end: the blocks that are still there.
  void close(Granules& granules);

  // Null: no block is there.
  [[nodiscard]] const Block* block_of(std::uint64_t address) const;
  [[nodiscard]] const std::map<Site, SiteUse>& sites() const { return sites_; }

 private:
  static void count(Block& block, const Use& use);

  std::map<Site, SiteUse> sites_;
  std::map<std::uint64_t, Block> blocks_;
};

}  // namespace vmsrs::study
