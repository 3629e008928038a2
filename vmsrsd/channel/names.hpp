// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

// The ABI's numbers as words: the closed sets of metric labels and of the API's fields. A number
// out of its set (a newer hypervisor) is "unknown".
namespace vmsrs::channel {

extern const std::array<const char*, VMSRS_FAULT_KIND_COUNT> kFaultKindNames;
extern const std::array<const char*, VMSRS_EXIT_REASON_COUNT> kExitReasonNames;
extern const std::array<const char*, VMSRS_CHECK_COUNT> kInvariantNames;
// Library calls by number - VMSRS_CALL_ATTACH; null: there is no such call.
extern const std::array<const char*, VMSRS_LIBRARY_CALLS> kLibraryCallNames;
extern const std::array<const char*, VMSRS_RESTORE_CAUSE_COUNT> kRestoreCauseNames;

// By type; the first is of none.
extern const std::array<const char*, VMSRS_EVENT_TYPE_COUNT> kEventTypeNames;
[[nodiscard]] const char* event_type_name(std::uint32_t type);
[[nodiscard]] const char* fault_kind_name(std::uint32_t kind);
[[nodiscard]] const char* isolation_name(std::uint32_t isolation);
[[nodiscard]] const char* devices_name(std::uint64_t devices);
[[nodiscard]] const char* log_level_name(std::uint32_t level);
[[nodiscard]] const char* memory_use_name(std::uint32_t use);
// By kind; the first is of none.
extern const std::array<const char*, VMSRS_GUEST_END_KIND_COUNT> kGuestEndNames;
[[nodiscard]] const char* guest_end_name(std::uint32_t kind);
[[nodiscard]] const char* guest_cpu_state_name(std::uint32_t state);
[[nodiscard]] const char* region_state_name(std::uint32_t state);
[[nodiscard]] const char* user_state_name(std::uint32_t state);
// own, contain, observe, off.
extern const std::array<const char*, 4> kContainmentNames;
[[nodiscard]] const char* containment_name(std::uint32_t mode);
[[nodiscard]] std::optional<std::uint32_t> containment_called(const std::string& name);
[[nodiscard]] const char* verdict_name(std::uint32_t verdict);
[[nodiscard]] std::string status_name(vmsrs_status status);
[[nodiscard]] std::string dotted_version(std::uint32_t abi_version);

// "0x1f": addresses are strings, for JSON's readers often keep only 53 bits of a number.
[[nodiscard]] std::string hexadecimal(std::uint64_t number);

// A user's label: printable ASCII stays, but for the backslash; every other byte is \xNN. Safe in
// JSON and terminals, and no two labels look the same.
[[nodiscard]] std::string label_text(std::span<const std::uint8_t> label);

// Bounded, and with anything but printable ASCII replaced: safe in JSON, labels and terminals.
[[nodiscard]] std::string server_name(const vmsrs_server_info& info);
[[nodiscard]] std::string region_name(const vmsrs_region_info& info);  // empty: it has none

}  // namespace vmsrs::channel
