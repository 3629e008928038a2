// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {

bool collect_regions(Scrape& scrape, Families& families) {
  const auto* stats = scrape.stats();
  const auto* servers = scrape.servers();
  if (stats == nullptr || servers == nullptr) return false;
  families.gauge("vmsrs_hidden_memory_bytes", "Memory that Linux cannot reach, all of it.")
      .add(static_cast<double>(stats->hidden_bytes));
  families.gauge("vmsrs_recovery_region_bytes", "Size of the recovery storage.")
      .add(static_cast<double>(stats->storage_bytes));
  families.gauge("vmsrs_recovery_region_used_bytes", "Recovery storage in use.")
      .add(static_cast<double>(stats->storage_used_bytes));

  using Info = vmsrs_server_info;
  add_for_servers(families.gauge("vmsrs_server_attached", "1 while the server is attached."),
                  *servers, &Info::attached);
  add_for_servers(families.gauge("vmsrs_server_regions", "Regions that the server has profiled."),
                  *servers, &Info::region_count);
  add_for_servers(
      families.gauge("vmsrs_server_region_bytes", "Size of the server's profiled regions."),
      *servers, &Info::region_bytes);
  add_for_servers(
      families.gauge("vmsrs_server_eager_regions", "Of these, regions restored at the crash."),
      *servers, &Info::eager_region_count);
  add_for_servers(families.gauge("vmsrs_server_kept_regions",
                                 "Named regions of a process that has died, kept for the next."),
                  *servers, &Info::kept_region_count);
  add_for_servers(families.gauge("vmsrs_server_kept_region_bytes", "Size of the kept regions."),
                  *servers, &Info::kept_bytes);
  add_for_servers(
      families.gauge("vmsrs_server_storage_used_bytes", "Recovery storage that the server uses."),
      *servers, &Info::storage_used_bytes);
  add_for_servers(families.gauge("vmsrs_server_records", "Records in the recovery storage."),
                  *servers, &Info::record_count);
  add_for_servers(families.gauge("vmsrs_server_contended_granules",
                                 "Granules with records of more than one user."),
                  *servers, &Info::contended_granules);
  add_for_servers(
      families.gauge("vmsrs_server_active_users", "Users that are neither finished nor crashed."),
      *servers, &Info::active_users);
  add_for_servers(families.counter("vmsrs_users_begun_total", "User scopes begun."), *servers,
                  &Info::user_count);
  add_for_servers(families.counter("vmsrs_users_finished_total", "User scopes committed."),
                  *servers, &Info::finished_count);
  add_for_servers(
      families.counter("vmsrs_users_collected_total",
                       "Crashed users that reached their end point and were collected."),
      *servers, &Info::collected_count);
  add_for_servers(families.counter("vmsrs_exposed_users_total",
                                   "Sampled users that were seen to have read what another had not "
                                   "finished, who then crashed."),
                  *servers, &Info::exposed_user_count);
  add_for_servers(families.counter("vmsrs_storage_exhausted_total",
                                   "Calls refused because recovery storage or quota was used up."),
                  *servers, &Info::no_storage_count);
  add_for_servers(families.counter("vmsrs_unprotected_stores_total",
                                   "Stores that went on without recovery data, storage being full: "
                                   "they can never be taken back."),
                  *servers, &Info::unprotected_store_count);
  return true;
}

}  // namespace vmsrs::collectors
