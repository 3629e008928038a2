// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <iterator>
#include <numeric>

#include "monitor/instance.hpp"

namespace vmsrs::recovery {

// The tests' way into the engine: to look at what no call shows, and to damage what the invariants
// must then find.
struct EngineProbe {
  static Engine& engine() { return monitor::instance().engine; }
  static PagePool& pool() { return engine().pool_; }
  static Server& server(std::uint32_t index) { return engine().servers_[index]; }
  static Ledger& ledger(std::uint32_t index) { return server(index).ledger_; }
  static std::uint64_t& mode(std::uint32_t index) { return server(index).mode_; }
  static Counters& counters(std::uint32_t index) { return server(index).counters_; }
  // Each is in its cause's histogram; nobody waits for sweeps, so they are not.
  static bool every_restore_was_timed(std::uint32_t index) {
    const auto& restores = counters(index).restores;
    return std::all_of(restores, restores + VMSRS_RESTORED_SWEEP, [](const RestoreTally& tally) {
      return std::accumulate(std::begin(tally.histogram), std::end(tally.histogram),
                             std::uint64_t{0}) == tally.count;
    });
  }
  static std::uint64_t& value(Tally& tally) { return tally.value_; }
  static Tally& stuck_count(std::uint32_t index) { return server(index).stuck_count_; }
  static void publish(std::uint32_t index) { server(index).publish_everything(); }
  static std::uint64_t* bitmap() { return pool().bitmap_; }
  static std::uint32_t page_count() { return pool().page_count_; }
  static std::uint64_t& free_records(std::uint32_t index) { return ledger(index).slab.free_count_; }
};

}  // namespace vmsrs::recovery
