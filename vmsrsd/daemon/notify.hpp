// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vmsrs::daemon {

// Tells the service manager a state ("READY=1") by a datagram to $NOTIFY_SOCKET, as sd_notify does;
// nothing happens where there is no service manager.
void notify_service_manager(const std::string& state);

// "RELOADING=1" with the time that systemd wants beside it.
[[nodiscard]] std::string reloading_state();

}  // namespace vmsrs::daemon
