// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"
#include "daemon/version.hpp"

namespace vmsrs::collectors {

bool collect_host(Scrape& scrape, Families& families) {
  const auto* stats = scrape.stats();
  if (stats == nullptr) return false;
  families
      .gauge("vmsrs_build_info",
             "Always 1; the labels tell the daemon's version, the hypervisor's ABI and what keeps "
             "the recovery storage out of Linux's reach.")
      .add(1, {{"version", daemon::kVersion},
               {"abi", channel::dotted_version(stats->abi_version)},
               {"isolation", channel::isolation_name(stats->isolation)}});
  if (stats->devices != VMSRS_DEVICES_UNKNOWN) {
    families
        .gauge("vmsrs_devices_confined",
               "1 if an IOMMU keeps devices (DMA) from hidden memory, 0 if nothing does.")
        .add(stats->devices == VMSRS_DEVICES_CONFINED ? 1 : 0);
  }
  families
      .gauge("vmsrs_engine_abandoned",
             "1 if the hypervisor has contradicted itself: Linux goes on, nothing is protected.")
      .add(stats->engine_abandoned != 0 ? 1 : 0);
  families.gauge("vmsrs_hypervisor_start_timestamp_seconds", "When the hypervisor was started.")
      .add(scrape.clock().unix_time() - seconds_of_ns(stats->uptime_ns));
  families.gauge("vmsrs_cpus", "Processors below which the hypervisor runs.").add(stats->cpu_count);
  families.gauge("vmsrs_servers", "Servers that are defined.").add(stats->server_count);
  return true;
}

}  // namespace vmsrs::collectors
