// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {

bool collect_faults(Scrape& scrape, Families& families) {
  const auto* servers = scrape.servers();
  if (servers == nullptr) return false;
  Family faults = families.counter("vmsrs_user_faults_total",
                                   "Faults of users that the hypervisor was told of, by kind.");
  for (const vmsrs_server_info& info : *servers) {
    for (std::uint32_t kind = VMSRS_FAULT_NONE + 1; kind < VMSRS_FAULT_KIND_COUNT; ++kind) {
      faults.add(
          static_cast<double>(info.faults[kind]),
          {{"server", channel::server_name(info)}, {"kind", channel::fault_kind_name(kind)}});
    }
  }
  return true;
}

}  // namespace vmsrs::collectors
