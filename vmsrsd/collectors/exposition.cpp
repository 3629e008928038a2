// SPDX-License-Identifier: Apache-2.0
#include "collectors/exposition.hpp"

#include <prometheus/text_serializer.h>

#include <array>

#include "collectors/collectors.hpp"
#include "collectors/process.hpp"

namespace vmsrs::collectors {
namespace {

constexpr std::array<Collector, 10> kCollectors = {{{"host", collect_host},
                                                    {"guest", collect_guest},
                                                    {"faults", collect_faults},
                                                    {"suppression", collect_suppression},
                                                    {"restores", collect_restores},
                                                    {"overhead", collect_overhead},
                                                    {"regions", collect_regions},
                                                    {"refusals", collect_refusals},
                                                    {"checks", collect_checks},
                                                    {"events", collect_events}}};

struct Run {
  std::string_view name;
  bool success;
  double seconds;
};

void add_runs(const std::vector<Run>& runs, Families& families) {
  Family success = families.gauge("vmsrs_collector_success",
                                  "1 if the collector got all that it asked the hypervisor for.");
  for (const Run& run : runs)
    success.add(run.success ? 1 : 0, {{"collector", std::string(run.name)}});
  Family duration =
      families.gauge("vmsrs_collector_duration_seconds", "How long the collector took.");
  for (const Run& run : runs) duration.add(run.seconds, {{"collector", std::string(run.name)}});
}

}  // namespace

std::span<const Collector> all_collectors() { return kCollectors; }

std::vector<prometheus::MetricFamily> Exposition::Collect() const {
  Scrape scrape(channel_, checks_, events_, log_, clock_);
  Families all;
  const vmsrs_stats* const stats = scrape.stats();
  all.gauge("vmsrs_up", "1 if the hypervisor answers and protects.")
      .add(stats != nullptr && stats->engine_abandoned == 0 ? 1 : 0);
  std::vector<Run> runs;
  for (const Collector& collector : kCollectors) {
    Families families;
    const double begin = clock_.steady_time();
    const bool success = collector.collect(scrape, families);
    runs.push_back({collector.name, success, clock_.steady_time() - begin});
    if (success) all.append(std::move(families));
  }
  Families own;
  const double begin = clock_.steady_time();
  const bool success = collect_process(process_, start_, own);
  runs.push_back({"process", success, clock_.steady_time() - begin});
  if (success) all.append(std::move(own));
  add_runs(runs, all);
  if (certificate_expiry_) {
    Family expiry = all.gauge("vmsrs_certificate_expiry_timestamp_seconds",
                              "When the certificate, or the first of the file, ends.");
    for (const auto& [name, time] : certificate_expiry_())
      expiry.add(time, {{"certificate", name}});
  }
  return std::move(all).take();
}

std::string Exposition::text() const { return prometheus::TextSerializer().Serialize(Collect()); }

}  // namespace vmsrs::collectors
