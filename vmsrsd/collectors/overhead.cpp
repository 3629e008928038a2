// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.hpp"

namespace vmsrs::collectors {
namespace {

void add_exits(Family family, const std::vector<vmsrs_exits>& cpus,
               const std::uint64_t (vmsrs_exits::*values)[VMSRS_EXIT_REASON_COUNT]) {
  for (const vmsrs_exits& exits : cpus) {
    for (std::size_t reason = 0; reason < VMSRS_EXIT_REASON_COUNT; ++reason) {
      family.add(
          static_cast<double>((exits.*values)[reason]),
          {{"reason", channel::kExitReasonNames[reason]}, {"cpu", std::to_string(exits.cpu)}});
    }
  }
}

}  // namespace

bool collect_overhead(Scrape& scrape, Families& families) {
  const auto* cpus = scrape.exits();
  const auto* servers = scrape.servers();
  const auto* works = scrape.works();
  const auto* stats = scrape.stats();
  const auto* lines = scrape.log_lines();
  if (cpus == nullptr || servers == nullptr || works == nullptr || stats == nullptr ||
      lines == nullptr)
    return false;
  add_exits(families.counter("vmsrs_hypervisor_exits_total",
                             "Exits from the guest into the hypervisor, by reason."),
            *cpus, &vmsrs_exits::count);
  add_exits(families.counter(
                "vmsrs_hypervisor_cycles_total",
                "Processor cycles (TSC) from an exit to the next entry, by the exit's reason."),
            *cpus, &vmsrs_exits::cycles);
  if (stats->cycles_per_second != 0) {
    families
        .gauge(
            "vmsrs_tsc_hertz",
            "Ticks a second of the counter (TSC) that vmsrs_hypervisor_cycles_total counts: over "
            "these and vmsrs_cpus it is the share of the processors' time.")
        .add(static_cast<double>(stats->cycles_per_second));
    families
        .counter("vmsrs_holds_total",
                 "Times that a crash held all other processors while eager regions were restored.")
        .add(static_cast<double>(stats->hold_count));
    families
        .counter("vmsrs_hold_cycles_total",
                 "Processor cycles (TSC) for which they were held, from the first kick on.")
        .add(static_cast<double>(stats->hold_cycles));
  }
  add_for_servers(families.counter("vmsrs_stores_total", "Monitored stores that trapped."),
                  *servers, &vmsrs_server_info::store_count);
  add_for_servers(families.counter("vmsrs_loads_total", "Monitored loads that trapped."), *servers,
                  &vmsrs_server_info::load_count);
  if (!works->empty()) {
    Family calls = families.counter(
        "vmsrs_library_calls_total",
        "Hypercalls that the server's processes have made, by call, repeated ones included.");
    for (std::size_t i = 0; i < works->size(); ++i) {
      const std::string server = channel::server_name((*servers)[i]);
      for (std::size_t call = 0; call < channel::kLibraryCallNames.size(); ++call)
        if (channel::kLibraryCallNames[call] != nullptr)
          calls.add(static_cast<double>((*works)[i].calls[call]),
                    {{"server", server}, {"call", channel::kLibraryCallNames[call]}});
    }
  }
  add_for_servers(
      families.gauge("vmsrs_quarantined_frees",
                     "Blocks that users have freed who have not ended; until then nobody is given "
                     "them. As the server's processes report it."),
      *servers, &vmsrs_server_info::quarantined_free_count);
  Family log = families.counter(
      "vmsrs_hypervisor_log_lines_total",
      "Lines of the hypervisor's log since its start, by level; unseen: overwritten before this "
      "daemon looked.");
  for (const std::uint32_t level : {VMSRS_LOG_INFO, VMSRS_LOG_WARNING, VMSRS_LOG_ERROR})
    log.add(static_cast<double>(lines->by_level[level]),
            {{"level", channel::log_level_name(level)}});
  log.add(static_cast<double>(lines->unseen), {{"level", "unseen"}});
  return true;
}

}  // namespace vmsrs::collectors
