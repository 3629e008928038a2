// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "fleet_file.hpp"

// The PromQL by which `vmsrsctl fleet` asks. Names are those of docs/api.md#metrics; the scrape job
// is called vmsrs, the label `instance` of a target is the host's name.
namespace vmsrs::cli::figures {

// `name` with the matchers of the choice: vmsrs_up{job="vmsrs",site="berlin"}. `more`: further
// matchers.
[[nodiscard]] std::string series(const std::string& name, const HostChoice& choice,
                                 const std::string& more = "");

// The matcher of a label that is one of these.
[[nodiscard]] std::string one_of(const std::string& label, const std::vector<std::string>& values);

// Seconds that users have been under suppression by now, of each server with such users.
[[nodiscard]] std::string suppression_age(const HostChoice& choice, const std::string& more = "");

// Share of a host's processors' time between exits to the hypervisor and the next entries, of each
// host with a hypervisor, over the last five minutes.
[[nodiscard]] std::string overhead(const HostChoice& choice, const std::string& more = "");

}  // namespace vmsrs::cli::figures
