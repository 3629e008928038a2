// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Random histories: sequences of operations by many users of several servers, run through the
// monitor and through the reference model, which must agree byte for byte after every operation.
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
    kCrash,
    kStuck,
    kCollect,
    kForcedCollection,
    kCheck,
    kCount
  };
  Kind kind;
  std::uint32_t server, user, region;
  std::uint32_t at, bytes;
  std::uint64_t value;    // what is stored, or whence the bytes of a range come
  std::uint32_t fail_at;  // 0: never; else that access to guest memory asks for a touch
};

struct History {
  std::uint64_t seed;
  std::uint32_t servers, users;
  bool tight;        // a quota that leaves one page, 31 records, beside the regions
  bool unprotected;  // what stores do when that is used up
  std::vector<std::vector<std::uint32_t>> regions;  // of each server: granule sizes
  std::vector<Operation> operations;
};

// What the mechanism did: a run in which it did nothing proves nothing.
struct Exercise {
  std::uint64_t operations, demand_restores, collect_restores, suppressed, contended, touches, full,
      forced, unprotected;
};

constexpr std::uint32_t kRegionBytes = 192;

History make_history(std::uint64_t seed);
// Nothing if engine and model agreed, else what was wrong.
std::optional<std::string> run(const History& history, Exercise& exercise);
// A history that fails still, with as few operations as removing finds.
History shrink(History history);
std::string describe(const History& history);

}  // namespace vmsrs::test
