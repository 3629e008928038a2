// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "store/event.hpp"
#include "store/symbols.hpp"

// What becomes an event, field by field; docs/api.md explains them, a golden file keeps their
// names.
namespace vmsrs::daemon {

using Json = nlohmann::ordered_json;

// Every type that an event can have.
[[nodiscard]] const std::vector<std::string>& event_types();

// `boot_time`: when the hypervisor was started, Unix time. `dump_folder`: where servers leave
// dumps; empty = nowhere.
[[nodiscard]] store::Event engine_event(const vmsrs_event& event, double boot_time,
                                        const std::vector<vmsrs_server_info>& servers,
                                        store::Symbols& symbols, const std::string& dump_folder);
[[nodiscard]] store::Event guest_event(const vmsrs_guest_end& end,
                                       const std::vector<vmsrs_guest_cpu>& cpus, double boot_time);
// Of the daemon itself; boot and sequence are filled in as it is stored.
[[nodiscard]] store::Event daemon_event(const std::string& type, double time, const Json& detail);
// One for each invariant that is violated.
[[nodiscard]] std::vector<store::Event> check_events(const vmsrs_check_report& report, double time,
                                                     const std::vector<vmsrs_server_info>& servers);

[[nodiscard]] std::string boot_text(std::uint64_t boot);

// All fields of an event, as the API and the journal give it. A dump is named if its file is there
// now: the server leaves it a moment after the event, and an operator may delete it.
[[nodiscard]] Json event_document(const store::StoredEvent& stored);

}  // namespace vmsrs::daemon
