// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "collectors/families.hpp"

namespace vmsrs::collectors {

// The daemon's own process, under the names that every Prometheus client has: of the folder
// /proc/PID. `start`: Unix time. False: something could not be read.
[[nodiscard]] bool collect_process(const std::string& folder, double start, Families& families);

}  // namespace vmsrs::collectors
