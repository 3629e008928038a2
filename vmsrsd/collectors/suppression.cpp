// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {
namespace {

constexpr double kBucketsMs[] = VMSRS_SUPPRESSION_BUCKETS_MS;

prometheus::ClientMetric::Histogram durations(const vmsrs_server_info& info) {
  prometheus::ClientMetric::Histogram histogram;
  for (std::size_t i = 0; i < std::size(kBucketsMs); ++i) {
    histogram.sample_count += info.suppression_histogram[i];
    histogram.bucket.push_back({histogram.sample_count, kBucketsMs[i] / 1e3});
  }
  histogram.sample_count += info.suppression_histogram[std::size(kBucketsMs)];
  histogram.sample_sum = seconds_of_ns(info.ended_suppression_ns);
  return histogram;
}

}  // namespace

bool collect_suppression(Scrape& scrape, Families& families) {
  const auto* servers = scrape.servers();
  if (servers == nullptr) return false;
  add_for_servers(families.gauge("vmsrs_suppressed_users",
                                 "Crashed users that are not yet collected, stuck ones included."),
                  *servers, &vmsrs_server_info::crashed_users);
  add_for_servers(
      families.gauge("vmsrs_stuck_users",
                     "Crashed users that could not be brought to the end point of their scope, or "
                     "out of a store."),
      *servers, &vmsrs_server_info::stuck_users);

  // Absent when nobody is suppressed: an age that is always there would always look like an alarm.
  Family oldest =
      families.gauge("vmsrs_oldest_suppression_start_timestamp_seconds",
                     "When the crash was whose user has been under suppression for longest.");
  const double now = scrape.clock().unix_time();
  for (const vmsrs_server_info& info : *servers) {
    if (info.oldest_suppression_age_ns == 0) continue;
    oldest.add(now - seconds_of_ns(info.oldest_suppression_age_ns),
               {{"server", channel::server_name(info)}});
  }

  Family seconds = families.counter(
      "vmsrs_suppression_mode_seconds_total",
      "Time that the server has spent in suppression mode, a running interval included.");
  for (const vmsrs_server_info& info : *servers) {
    seconds.add(seconds_of_ns(info.suppression_ns), {{"server", channel::server_name(info)}});
  }
  Family histogram = families.histogram(
      "vmsrs_suppression_duration_seconds",
      "How long users were under suppression, from crash to collection, observed at its end.");
  for (const vmsrs_server_info& info : *servers) {
    histogram.add(durations(info), {{"server", channel::server_name(info)}});
  }
  add_for_servers(families.counter("vmsrs_suppressed_stores_total",
                                   "Stores of crashed users that were dropped."),
                  *servers, &vmsrs_server_info::suppressed_store_count);
  return true;
}

}  // namespace vmsrs::collectors
