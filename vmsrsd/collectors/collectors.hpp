// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <span>
#include <string_view>

#include "channel/names.hpp"
#include "collectors/families.hpp"
#include "collectors/scrape.hpp"

// The daemon's collectors, one a file. A collector adds all of its families or, when the hypervisor
// did not answer, returns false; what it had added is dropped then.
namespace vmsrs::collectors {

bool collect_checks(Scrape& scrape, Families& families);
bool collect_events(Scrape& scrape, Families& families);
bool collect_faults(Scrape& scrape, Families& families);
bool collect_guest(Scrape& scrape, Families& families);
bool collect_host(Scrape& scrape, Families& families);
bool collect_overhead(Scrape& scrape, Families& families);
bool collect_refusals(Scrape& scrape, Families& families);
bool collect_regions(Scrape& scrape, Families& families);
bool collect_restores(Scrape& scrape, Families& families);
bool collect_suppression(Scrape& scrape, Families& families);

struct Collector {
  std::string_view name;  // the value of the label `collector`
  bool (*collect)(Scrape& scrape, Families& families);
};

[[nodiscard]] std::span<const Collector> all_collectors();

// One series for each server: `value` is a member of vmsrs_server_info.
template <typename Member>
void add_for_servers(Family family, const std::vector<vmsrs_server_info>& servers,
                     Member vmsrs_server_info::*value) {
  for (const vmsrs_server_info& info : servers) {
    family.add(static_cast<double>(info.*value), {{"server", channel::server_name(info)}});
  }
}

[[nodiscard]] inline double seconds_of_ns(std::uint64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

}  // namespace vmsrs::collectors
