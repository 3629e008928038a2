// SPDX-License-Identifier: Apache-2.0
#include "history.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>

#include "world.hpp"

namespace vmsrs::test {
namespace {

using Kind = Operation::Kind;

// Kinds by how often they are wanted.
constexpr Kind kMix[] = {Kind::kBegin,         Kind::kBegin,
                         Kind::kBegin,         Kind::kEnd,
                         Kind::kEnd,           Kind::kStore,
                         Kind::kStore,         Kind::kStore,
                         Kind::kStore,         Kind::kStore,
                         Kind::kStore,         Kind::kStoreRange,
                         Kind::kStoreRange,    Kind::kStoreRange,
                         Kind::kFill,          Kind::kLoad,
                         Kind::kLoad,          Kind::kLoad,
                         Kind::kLoadRange,     Kind::kLoadRange,
                         Kind::kLoadCommitted, Kind::kCrash,
                         Kind::kCrash,         Kind::kCollect,
                         Kind::kCollect,       Kind::kForcedCollection,
                         Kind::kStuck,         Kind::kService,
                         Kind::kScrub,         Kind::kCheck,
                         Kind::kDeath,         Kind::kMove,
                         Kind::kMove,          Kind::kWild,
                         Kind::kWild};
constexpr std::size_t kWildKinds = 2;  // the last ones

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}

  History make(std::uint64_t seed) {
    History history{seed, 1 + below(2), 2 + below(4), 1 + below(kMostProcesses), false, {}, {}};
    history.tight = below(3) == 0;
    for (std::uint32_t server = 0; server < history.servers; ++server) {
      history.regions.emplace_back();
      for (std::uint32_t left = 1 + below(2); left > 0; --left)
        history.regions.back().push_back({8u << below(4), below(3) == 0});
    }
    // Narrow histories let users meet in few bytes, wide ones touch many granules. Without wild
    // stores the model knows every byte of memory exactly.
    span_ = below(2) == 0 ? 24 : kRegionBytes;
    kinds_ = std::size(kMix) - (below(2) == 0 ? kWildKinds : 0);
    for (std::uint32_t server = 0; server < history.servers; ++server)
      for (std::uint32_t user = 0; user < history.users && below(4) > 0; ++user)
        history.operations.push_back({Kind::kBegin, server, user, 0, 0, 0, user, 0, 0});
    for (std::uint32_t left = 10 + below(50); left > 0; --left)
      history.operations.push_back(operation(history));
    for (std::uint32_t i = 0; i < history.operations.size(); ++i) history.operations[i].number = i;
    return history;
  }

 private:
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(random_() % n); }

  Operation operation(const History& history) {
    Operation operation{};
    operation.kind = kMix[below(kinds_)];
    operation.server = below(history.servers);
    operation.user = below(history.users);
    operation.region = below(history.regions[operation.server].size());
    const bool ranged = operation.kind == Kind::kStoreRange || operation.kind == Kind::kFill ||
                        operation.kind == Kind::kLoadRange ||
                        operation.kind == Kind::kLoadCommitted;
    const std::uint32_t most = ranged && below(4) == 0 ? span_ : std::min(kLargestAccess, span_);
    // Words are what programs mostly store.
    operation.bytes = !ranged && below(2) == 0 ? 1u << below(4) : 1 + below(most);
    operation.at = below(span_ - operation.bytes + 1);
    operation.value = random_();
    operation.fail_at = below(8) == 0 ? 1 + below(4) : 0;
    return operation;
  }

  std::mt19937_64 random_;
  std::uint32_t span_ = 0;
  std::size_t kinds_ = 0;
};

}  // namespace

History make_history(std::uint64_t seed) { return Maker(seed).make(seed); }

std::optional<std::string> run(const History& history, const Accesses::Factory& accesses,
                               Exercise& exercise) {
  World world(history, accesses, exercise);
  for (const Operation& operation : history.operations) {
    ++exercise.operations;
    if (auto wrong = world.perform(operation))
      return "operation " + std::to_string(operation.number) + ": " + *wrong;
  }
  return world.finish();
}

History shrink(History history, const Accesses::Factory& accesses) {
  const auto fails = [&](const History& candidate) {
    Exercise ignored{};
    return run(candidate, accesses, ignored).has_value();
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
  static const char* const names[] = {
      "begin",          "end",   "store", "store_range", "fill",   "load", "load_range",
      "load_committed", "crash", "stuck", "collect",     "forced", "wild", "service",
      "scrub",          "check", "move",  "death"};
  static_assert(std::size(names) == static_cast<std::size_t>(Kind::kCount));
  std::ostringstream out;
  out << "seed " << history.seed << (history.tight ? ", tight" : "") << ", " << history.processes
      << " processes, granules";
  for (const auto& server : history.regions) {
    out << " |";
    for (const History::RegionShape& region : server)
      out << ' ' << region.granule << (region.eager ? " eager" : "");
  }
  for (const Operation& o : history.operations)
    out << "\n  " << o.number << ": " << names[static_cast<int>(o.kind)] << " server " << o.server
        << " user " << o.user << " region " << o.region << " at " << o.at << " bytes " << o.bytes
        << " value 0x" << std::hex << o.value << std::dec << " fail_at " << o.fail_at;
  return out.str();
}

std::string kept(const History& history) {
  std::ostringstream out;
  const auto& all = history.operations;
  for (std::size_t i = 0; i < all.size();) {
    std::size_t last = i;
    while (last + 1 < all.size() && all[last + 1].number == all[last].number + 1) ++last;
    out << (i == 0 ? "" : ",") << all[i].number;
    if (last > i) out << '-' << all[last].number;
    i = last + 1;
  }
  return out.str();
}

void keep_only(History& history, const std::string& numbers) {
  std::set<std::uint32_t> wanted;
  std::istringstream in(numbers);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t dash = part.find('-');
    const auto first = static_cast<std::uint32_t>(std::stoul(part));
    const auto last = dash == std::string::npos
                          ? first
                          : static_cast<std::uint32_t>(std::stoul(part.substr(dash + 1)));
    for (std::uint32_t number = first; number <= last && number < history.operations.size();
         ++number)
      wanted.insert(number);
  }
  std::erase_if(history.operations,
                [&](const Operation& operation) { return !wanted.contains(operation.number); });
}

}  // namespace vmsrs::test
