// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdlib>

#include "history.hpp"

using namespace vmsrs::test;

namespace {

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

}  // namespace

// VMSRS_HISTORIES and VMSRS_SEED choose how many and from which seed on.
BOOST_AUTO_TEST_CASE(engine_and_model_agree_on_random_histories) {
  const std::uint64_t count = setting("VMSRS_HISTORIES", 20000);
  const std::uint64_t first = setting("VMSRS_SEED", 1);
  Exercise exercise{};
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const History history = make_history(seed);
    if (!run(history, exercise)) continue;
    const History least = shrink(history);
    Exercise ignored{};
    BOOST_FAIL("history " << seed << ": " << run(least, ignored).value_or("?") << "\n"
                          << describe(least));
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  BOOST_TEST_MESSAGE(count << " histories, " << exercise.operations << " operations in "
                           << seconds.count() << " s; restored " << exercise.demand_restores
                           << " on demand and " << exercise.collect_restores
                           << " at collection, suppressed " << exercise.suppressed << ", contended "
                           << exercise.contended << ", touches " << exercise.touches << ", full "
                           << exercise.full << ", forced " << exercise.forced << ", unprotected "
                           << exercise.unprotected);
  // A run in which the mechanism did not happen proves nothing.
  if (count < 1000) return;
  BOOST_TEST(exercise.demand_restores > 0u);
  BOOST_TEST(exercise.collect_restores > 0u);
  BOOST_TEST(exercise.suppressed > 0u);
  BOOST_TEST(exercise.contended > 0u);
  BOOST_TEST(exercise.touches > 0u);
  BOOST_TEST(exercise.full > 0u);
  BOOST_TEST(exercise.forced > 0u);
  BOOST_TEST(exercise.unprotected > 0u);
}
