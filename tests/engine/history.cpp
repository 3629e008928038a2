// SPDX-License-Identifier: Apache-2.0
#include "history.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <sstream>

#include "world.hpp"

namespace vmsrs::test {
namespace {

using Kind = Operation::Kind;

// Kinds by how often they are wanted.
constexpr Kind kMix[] = {
    Kind::kBegin, Kind::kBegin,      Kind::kBegin,      Kind::kEnd,        Kind::kEnd,
    Kind::kStore, Kind::kStore,      Kind::kStore,      Kind::kStore,      Kind::kStore,
    Kind::kStore, Kind::kStoreRange, Kind::kStoreRange, Kind::kStoreRange, Kind::kFill,
    Kind::kLoad,  Kind::kLoad,       Kind::kLoad,       Kind::kLoadRange,  Kind::kLoadRange,
    Kind::kCrash, Kind::kCrash,      Kind::kCollect,    Kind::kCollect,    Kind::kForcedCollection,
    Kind::kStuck, Kind::kCheck};

}  // namespace

History make_history(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<std::uint32_t>(random() % n); };
  History history{seed, 1 + below(2), 2 + below(4), false, false, {}, {}};
  history.tight = below(3) == 0;
  history.unprotected = seed % 2 == 0;
  for (std::uint32_t server = 0; server < history.servers; ++server) {
    history.regions.emplace_back();
    for (std::uint32_t left = 1 + below(2); left > 0; --left)
      history.regions.back().push_back(8u << below(4));
  }
  // Narrow histories let users meet in few bytes, wide ones touch many granules.
  const std::uint32_t span = below(2) == 0 ? 24 : kRegionBytes;
  for (std::uint32_t server = 0; server < history.servers; ++server)
    for (std::uint32_t user = 0; user < history.users && below(4) > 0; ++user)
      history.operations.push_back({Kind::kBegin, server, user, 0, 0, 0, user, 0});
  for (std::uint32_t left = 10 + below(50); left > 0; --left) {
    Operation operation{};
    operation.kind = kMix[below(std::size(kMix))];
    operation.server = below(history.servers);
    operation.user = below(history.users);
    operation.region = below(history.regions[operation.server].size());
    operation.bytes = 1 + below(below(4) == 0 ? span : std::min(64u, span));
    if (operation.kind == Kind::kStore || operation.kind == Kind::kLoad)
      operation.bytes = 1u << below(4);
    operation.at = below(span - operation.bytes + 1);
    operation.value = random();
    operation.fail_at = below(8) == 0 ? 1 + below(4) : 0;
    history.operations.push_back(operation);
  }
  return history;
}

std::optional<std::string> run(const History& history, Exercise& exercise) {
  World world(history, exercise);
  for (std::size_t i = 0; i < history.operations.size(); ++i) {
    ++exercise.operations;
    if (auto wrong = world.perform(history.operations[i]))
      return "operation " + std::to_string(i) + ": " + *wrong;
  }
  return world.finish();
}

History shrink(History history) {
  const auto fails = [](const History& candidate) {
    Exercise ignored{};
    return run(candidate, ignored).has_value();
  };
  for (std::size_t chunk = history.operations.size(); chunk > 0; chunk /= 2) {
    for (std::size_t at = 0; at + chunk <= history.operations.size();) {
      History candidate = history;
      const auto first = candidate.operations.begin() + static_cast<std::ptrdiff_t>(at);
      candidate.operations.erase(first, first + static_cast<std::ptrdiff_t>(chunk));
      if (fails(candidate))
        history = candidate;
      else
        at += chunk;
    }
  }
  return history;
}

std::string describe(const History& history) {
  static const char* const names[] = {"begin", "end",     "store",      "store_range",
                                      "fill",  "load",    "load_range", "crash",
                                      "stuck", "collect", "forced",     "check"};
  std::ostringstream out;
  out << "seed " << history.seed << (history.tight ? ", tight" : "")
      << (history.unprotected ? ", unprotected" : "") << ", granules";
  for (const auto& server : history.regions) {
    out << " |";
    for (const std::uint32_t granule : server) out << ' ' << granule;
  }
  for (const Operation& o : history.operations)
    out << "\n  " << names[static_cast<int>(o.kind)] << " server " << o.server << " user " << o.user
        << " region " << o.region << " at " << o.at << " bytes " << o.bytes << " value "
        << (o.value & 0xff) << " fail_at " << o.fail_at;
  return out.str();
}

}  // namespace vmsrs::test
