// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {

bool collect_restores(Scrape& scrape, Families& families) {
  const auto* servers = scrape.servers();
  if (servers == nullptr) return false;
  Family restores = families.counter(
      "vmsrs_restores_total",
      "Granules brought back to their committed value, because somebody accessed them (demand), "
      "because their user had crashed and a region is eager (crash), because their user was "
      "collected (collection), or because they had been changed behind the library's back "
      "(sweep).");
  for (const vmsrs_server_info& info : *servers) {
    const std::string name = channel::server_name(info);
    restores.add(static_cast<double>(info.demand_restore_count),
                 {{"server", name}, {"cause", "demand"}});
    restores.add(static_cast<double>(info.crash_restore_count),
                 {{"server", name}, {"cause", "crash"}});
    restores.add(static_cast<double>(info.collect_restore_count),
                 {{"server", name}, {"cause", "collection"}});
    restores.add(static_cast<double>(info.sweep_restore_count),
                 {{"server", name}, {"cause", "sweep"}});
  }
  add_for_servers(families.counter("vmsrs_restore_cycles_total",
                                   "Processor cycles (TSC) spent on restoring granules."),
                  *servers, &vmsrs_server_info::restore_cycles);
  return true;
}

}  // namespace vmsrs::collectors
