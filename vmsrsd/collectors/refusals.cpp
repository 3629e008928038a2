// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {

bool collect_refusals(Scrape& scrape, Families& families) {
  const auto* stats = scrape.stats();
  if (stats == nullptr) return false;
  families
      .counter("vmsrs_denied_calls_total", "Hypercalls refused for want of a secret or capability.")
      .add(static_cast<double>(stats->denied_call_count));
  families.counter("vmsrs_refused_calls_total", "Hypercalls refused for their arguments.")
      .add(static_cast<double>(stats->refused_call_count));
  families
      .counter("vmsrs_hidden_accesses_refused_total",
               "Accesses of the guest to hidden memory; each was refused.")
      .add(static_cast<double>(stats->hidden_access_count));
  families
      .counter("vmsrs_window_writes_refused_total",
               "Writes of the guest to a read-only window; each was refused.")
      .add(static_cast<double>(stats->window_write_count));
  return true;
}

}  // namespace vmsrs::collectors
