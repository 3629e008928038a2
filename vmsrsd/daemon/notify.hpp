// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace vmsrs::daemon {

// Tells the service manager a state ("READY=1") by a datagram to $NOTIFY_SOCKET, as sd_notify does;
// nothing happens where there is no service manager.
void notify_service_manager(const std::string& state);

// "RELOADING=1" with the time that systemd wants beside it.
[[nodiscard]] std::string reloading_state();

// How often the service manager wants to hear "WATCHDOG=1"; 0 ms: it does not.
[[nodiscard]] std::chrono::milliseconds watchdog_interval();

// Listening sockets that the service manager has made, by name (FileDescriptorName=). Throws
// std::runtime_error for a name that is not among `names`.
[[nodiscard]] std::map<std::string, int> inherited_sockets(const std::vector<std::string>& names);

}  // namespace vmsrs::daemon
