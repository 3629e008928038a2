// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {
namespace {

constexpr double kBucketsNs[] = VMSRS_RESTORE_BUCKETS_NS;

prometheus::ClientMetric::Histogram durations(const vmsrs_server_work& work, std::size_t cause,
                                              std::uint64_t cycles_per_second) {
  prometheus::ClientMetric::Histogram histogram;
  for (std::size_t i = 0; i < std::size(kBucketsNs); ++i) {
    histogram.sample_count += work.restore_histogram[cause][i];
    histogram.bucket.push_back({histogram.sample_count, kBucketsNs[i] / 1e9});
  }
  histogram.sample_count += work.restore_histogram[cause][std::size(kBucketsNs)];
  histogram.sample_sum =
      static_cast<double>(work.restore_cycles[cause]) / static_cast<double>(cycles_per_second);
  return histogram;
}

}  // namespace

bool collect_restores(Scrape& scrape, Families& families) {
  const auto* servers = scrape.servers();
  const auto* works = scrape.works();
  const auto* stats = scrape.stats();
  if (servers == nullptr || works == nullptr || stats == nullptr) return false;
  Family restores = families.counter(
      "vmsrs_restores_total",
      "Granules brought back to their committed value, because somebody accessed them (demand), "
      "because their user had crashed and a region is eager (crash), because their user was "
      "collected (collection), or because they had been changed behind the library's back "
      "(sweep).");
  for (const vmsrs_server_info& info : *servers) {
    const std::string name = channel::server_name(info);
    const std::uint64_t counts[] = {info.demand_restore_count, info.crash_restore_count,
                                    info.collect_restore_count, info.sweep_restore_count};
    for (std::size_t cause = 0; cause < std::size(counts); ++cause)
      restores.add(static_cast<double>(counts[cause]),
                   {{"server", name}, {"cause", channel::kRestoreCauseNames[cause]}});
  }
  if (works->empty() || stats->cycles_per_second == 0) return true;
  Family histogram = families.histogram(
      "vmsrs_restore_duration_seconds",
      "How long it took to restore a granule, by cause as in vmsrs_restores_total; of several that "
      "one call restored, the average. Not of sweeps, which nobody waits for.");
  for (std::size_t i = 0; i < works->size(); ++i) {
    for (const auto cause :
         {VMSRS_RESTORED_DEMAND, VMSRS_RESTORED_CRASH, VMSRS_RESTORED_COLLECTION})
      histogram.add(durations((*works)[i], cause, stats->cycles_per_second),
                    {{"server", channel::server_name((*servers)[i])},
                     {"cause", channel::kRestoreCauseNames[cause]}});
  }
  return true;
}

}  // namespace vmsrs::collectors
