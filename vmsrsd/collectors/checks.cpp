// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {

bool collect_checks(Scrape& scrape, Families& families) {
  const auto totals = scrape.checks().totals();
  Family violations =
      families.counter("vmsrs_invariant_violations_total",
                       "Violations that the checks of this daemon's life have found.");
  for (std::size_t i = 0; i < totals.size(); ++i) {
    violations.add(static_cast<double>(totals[i]), {{"invariant", channel::kInvariantNames[i]}});
  }

  const auto last = scrape.checks().last();
  if (!last) return true;
  families.gauge("vmsrs_last_check_timestamp_seconds", "When the last check ended.")
      .add(last->unix_time);
  Family held = families.gauge("vmsrs_last_check_ok",
                               "1 if the last check proved the invariant; 0 if it was violated, "
                               "nobody could look, or a server has run unprotected.");
  for (std::size_t i = 0; i < VMSRS_CHECK_COUNT; ++i) {
    held.add(last->report.results[i].verdict == VMSRS_VERDICT_OK ? 1 : 0,
             {{"invariant", channel::kInvariantNames[i]}});
  }
  return true;
}

}  // namespace vmsrs::collectors
