// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "svm/power_ports.hpp"

namespace vmsrs::svm {

constexpr std::uint64_t kIoPermissionBytes = 12288;  // APM vol. 2, 15.10.1

// Fills the I/O permission map: which ports of the guest exit.
void fill_port_permissions(std::uint8_t* map, const PowerPorts& power);

}  // namespace vmsrs::svm
