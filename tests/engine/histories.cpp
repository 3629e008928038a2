// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "history.hpp"
#include "trapped_accesses.hpp"

// Random histories against the reference model: see usage(). Exit codes: 0 all agreed, 1 one did
// not, or the mechanism was not exercised, 2 wrong use.
using namespace vmsrs::test;

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::uint64_t histories = 100000;
  std::uint64_t seed = 1;
  bool seed_given = false;
  bool progress = false;
  bool replay = false;
  std::string keep;
};

int usage() {
  std::fputs(
      "usage: engine_histories [--histories N] [--seed N] [--progress]\n"
      "       engine_histories --seed N --replay [--keep LIST]\n"
      "  --histories N  how many, 100000 if left out; 10 million: --histories 10000000 --progress\n"
      "  --seed N       the first one's seed, 1 if left out; each next one has the next seed\n"
      "  --progress     say every ten seconds how far it is\n"
      "  --replay       tell and run only the history of that seed\n"
      "  --keep LIST    of it only these operations, such as 0-3,7: what a failure prints\n",
      stderr);
  return 2;
}

// False: wrong use.
bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--progress" || name == "--replay") {
      (name == "--replay" ? options.replay : options.progress) = true;
      continue;
    }
    if (++i == argc) return false;
    if (name == "--keep") {
      options.keep = argv[i];
    } else if (name == "--histories" || name == "--seed") {
      char* end = nullptr;
      const std::uint64_t number = std::strtoull(argv[i], &end, 0);
      if (end == argv[i] || *end != '\0') return false;
      (name == "--seed" ? options.seed : options.histories) = number;
      options.seed_given |= name == "--seed";
    } else {
      return false;
    }
  }
  return options.replay ? options.seed_given : options.keep.empty();
}

std::unique_ptr<Accesses> trapped(std::uint32_t server, std::uint32_t users,
                                  std::uint32_t processes) {
  return std::make_unique<TrappedAccesses>(server, users, processes);
}

int replay(const Options& options) {
  History history = make_history(options.seed);
  if (!options.keep.empty()) keep_only(history, options.keep);
  std::puts(describe(history).c_str());
  Exercise ignored{};
  const auto wrong = run(history, trapped, ignored);
  std::puts(wrong ? wrong->c_str() : "engine and model agree");
  return wrong ? 1 : 0;
}

int fail(const History& history) {
  const History least = shrink(history, trapped);
  Exercise ignored{};
  std::printf("history %" PRIu64 " fails: %s\n%s\nreplay: engine_histories --seed %" PRIu64
              " --replay --keep %s\n",
              history.seed, run(least, trapped, ignored).value_or("?").c_str(),
              describe(least).c_str(), history.seed, kept(least).c_str());
  return 1;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// True if all that recovery can do has happened.
bool tell(const Options& options, const Exercise& all, double seconds) {
  struct Count {
    const char* name;
    std::uint64_t value;
  };
  const Count counts[] = {{"restored on demand", all.demand_restores},
                          {"restored at the crash", all.crash_restores},
                          {"restored at collection", all.collect_restores},
                          {"restored by sweeps", all.sweep_restores},
                          {"wild stores", all.wild},
                          {"suppressed stores", all.suppressed},
                          {"contended granules", all.contended},
                          {"touches", all.touches},
                          {"full storage", all.full},
                          {"forced collections", all.forced},
                          {"older bytes committed", all.older},
                          {"users whose process died", all.orphans},
                          {"pieces of deaths", all.pieces},
                          {"looks at exposed users", all.exposed},
                          {"users that went on in another thread", all.moved},
                          {"events", all.events},
                          {"owned granules in maps", all.mapped},
                          {"records in lists", all.listed}};
  std::printf("%" PRIu64 " histories from seed %" PRIu64 ", %" PRIu64
              " operations in %.1f s: engine and model agree\n",
              options.histories, options.seed, all.operations, seconds);
  bool exercised = true;
  for (const Count& count : counts) {
    std::printf("  %-24s %" PRIu64 "\n", count.name, count.value);
    exercised &= count.value > 0;
  }
  if (!exercised) std::puts("a count is 0: this run proves nothing");
  return exercised;
}

int run_all(const Options& options) {
  const Clock::time_point begin = Clock::now();
  double told = 0;
  Exercise exercise{};
  for (std::uint64_t i = 0; i < options.histories; ++i) {
    const History history = make_history(options.seed + i);
    if (run(history, trapped, exercise)) return fail(history);
    const double seconds = options.progress && i % 1024 == 0 ? seconds_since(begin) : 0;
    if (seconds - told < 10) continue;
    told = seconds;
    std::printf("%" PRIu64 " of %" PRIu64 " histories, %.0f s\n", i, options.histories, seconds);
    std::fflush(stdout);
  }
  return tell(options, exercise, seconds_since(begin)) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return usage();
  try {
    return options.replay ? replay(options) : run_all(options);
  } catch (const std::invalid_argument&) {  // of a number in LIST
    return usage();
  } catch (const std::out_of_range&) {
    return usage();
  }
}
