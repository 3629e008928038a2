// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"
#include "daemon/event_documents.hpp"

namespace vmsrs::collectors {

bool collect_events(Scrape& scrape, Families& families) {
  const auto* stats = scrape.stats();
  if (stats == nullptr) return false;
  using Ledger = daemon::EventLedger;
  const Ledger::Counts counts = scrape.events().counts();
  Family stored =
      families.counter("vmsrs_events_total", "Events that this daemon has stored, by type.");
  for (const std::string& type : daemon::event_types()) {
    const auto count = counts.stored.find(type);
    stored.add(count == counts.stored.end() ? 0 : static_cast<double>(count->second),
               {{"type", type}});
  }
  // Two series: the hypervisor's count begins anew with it, the daemon's with the daemon. Their sum
  // would fall at the daemon's start, which increase() takes for losses.
  Family lost = families.counter(
      "vmsrs_events_lost_total",
      "Events for which there was no room in the hypervisor (source engine, since its start), and "
      "those that this daemon has missed or had no room for (source daemon, since its start).");
  lost.add(static_cast<double>(stats->lost_event_count), {{"source", "engine"}});
  lost.add(static_cast<double>(counts.lost), {{"source", "daemon"}});
  families
      .counter("vmsrs_events_repeated_total",
               "Events that were not stored because they were stored already: something is wrong.")
      .add(static_cast<double>(counts.repeated));
  families.gauge("vmsrs_events_stored", "Events in the store.")
      .add(static_cast<double>(counts.kept));
  families.gauge("vmsrs_events_store_bytes", "Size of the store's files.")
      .add(static_cast<double>(counts.bytes));
  families
      .gauge("vmsrs_events_store_writable",
             "1 if the last try to take events over into the store succeeded; while it is 0 they "
             "stay in the hypervisor, as far as there is room.")
      .add(counts.writable ? 1 : 0);
  if (counts.last_drain != 0) {
    families
        .gauge("vmsrs_events_last_drain_timestamp_seconds",
               "When all events that there were had last been taken over.")
        .add(counts.last_drain);
  }
  prometheus::ClientMetric::Histogram histogram;
  for (std::size_t i = 0; i < Ledger::kBuckets.size(); ++i) {
    histogram.sample_count += counts.durations[i];
    histogram.bucket.push_back({histogram.sample_count, Ledger::kBuckets[i]});
  }
  histogram.sample_count += counts.durations.back();
  histogram.sample_sum = counts.duration_sum;
  families
      .histogram("vmsrs_events_drain_duration_seconds",
                 "How long it took to take over what there was, if there was something.")
      .add(histogram);
  return true;
}

}  // namespace vmsrs::collectors
