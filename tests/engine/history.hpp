// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "accesses.hpp"

// Random histories: sequences of operations by many users in several processes of several servers,
// run through the engine and through the reference model, which must agree byte for byte after
// every operation.
namespace vmsrs::test {

struct Operation {
  enum class Kind {
    kBegin,
    kEnd,
    kStore,
    kStoreRange,
    kFill,
    kLoad,
    kLoadRange,
    kLoadCommitted,
    kCrash,
    kStuck,
    kCollect,
    kForcedCollection,
    kWild,     // a plain store behind the library's back
    kService,  // the server's service thread comes by
    kScrub,
    kCheck,
    kMove,   // the user goes on in another thread
    kDeath,  // of the user's process; another comes in its place
    kCount
  };
  Kind kind;
  std::uint32_t server, user, region;
  std::uint32_t at, bytes;
  std::uint64_t value;    // what is stored, or whence the bytes of a range come
  std::uint32_t fail_at;  // 0: never; else that access to guest memory asks for a touch
  std::uint32_t number;   // in the history as it was made from its seed
};

struct History {
  std::uint64_t seed;
  std::uint32_t servers, users, processes;  // user u is in process u % processes
  bool tight;  // a quota that leaves one page, 31 records, beside the regions
  struct RegionShape {
    std::uint32_t granule;
    bool eager;
  };
  std::vector<std::vector<RegionShape>> regions;  // of each server
  std::vector<Operation> operations;
};

// What the mechanism did: a run in which it did nothing proves nothing.
struct Exercise {
  std::uint64_t operations, demand_restores, crash_restores, collect_restores, sweep_restores,
      suppressed, contended, touches, full, forced, wild, older, orphans, pieces, exposed, moved,
      events, mapped, listed;
};

constexpr std::uint32_t kRegionBytes = 192;
constexpr std::uint32_t kMostProcesses = 3;
constexpr std::uint32_t kLargestAccess = 64;

History make_history(std::uint64_t seed);
// Nothing if engine and model agreed, else what was wrong.
std::optional<std::string> run(const History& history, const Accesses::Factory& accesses,
                               Exercise& exercise);
// A history that fails still, with as few operations as removing finds.
History shrink(History history, const Accesses::Factory& accesses);
std::string describe(const History& history);

// The operations' numbers as text ("0-3,7"), and back: with the seed, a shrunk history. Throws
// std::invalid_argument.
std::string kept(const History& history);
void keep_only(History& history, const std::string& numbers);

}  // namespace vmsrs::test
