// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "collectors/collectors.hpp"

namespace vmsrs::collectors {
namespace {

constexpr std::array kWatches = {std::pair{"ends", VMSRS_WATCH_ENDS},
                                 std::pair{"panic", VMSRS_WATCH_PANIC},
                                 std::pair{"hang", VMSRS_WATCH_HANG}};

}  // namespace

bool collect_guest(Scrape& scrape, Families& families) {
  const auto* stats = scrape.stats();
  const auto* ends = scrape.guest_ends();
  if (stats == nullptr || ends == nullptr) return false;
  if (stats->guest_start == 0) return true;  // no guest here
  families
      .counter("vmsrs_guest_starts_total",
               "How often the hypervisor has started its guest, the present time included.")
      .add(stats->guest_start);
  Family watched = families.gauge(
      "vmsrs_guest_watched",
      "1 if the hypervisor recognises this end of its guest: `ends` shutdown and reset.");
  for (const auto& [name, bit] : kWatches)
    watched.add((stats->guest_watch & static_cast<unsigned>(bit)) != 0 ? 1 : 0, {{"end", name}});
  Family count = families.counter("vmsrs_guest_ends_total",
                                  "Ends of the guest's operating system without an announcement, "
                                  "since the hypervisor's start.");
  for (std::size_t kind = 1; kind < VMSRS_GUEST_END_KIND_COUNT; ++kind)
    count.add(ends->empty() ? 0 : ends->back().counts[kind],
              {{"kind", channel::kGuestEndNames[kind]}});
  if (ends->empty()) return true;
  families.gauge("vmsrs_guest_last_end_timestamp_seconds", "When the last of these was.")
      .add(scrape.clock().unix_time() - seconds_of_ns(stats->uptime_ns) +
           seconds_of_ns(ends->back().time_ns));
  return true;
}

}  // namespace vmsrs::collectors
