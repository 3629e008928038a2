// SPDX-License-Identifier: Apache-2.0
#include "channel/names.hpp"

#include <cstdio>
#include <cstring>

namespace vmsrs::channel {
namespace {

template <std::size_t N>
const char* name_in(const std::array<const char*, N>& names, std::uint32_t number) {
  return number < names.size() ? names[number] : "unknown";
}

std::string printable_name(const char (&text)[VMSRS_NAME_BYTES]) {
  std::string name(text, strnlen(text, sizeof text));
  for (char& c : name) {
    if (c < ' ' || c > '~') c = '?';
  }
  return name;
}

constexpr std::array<const char*, 4> kIsolationNames = {"unknown", "hypervisor", "process", "none"};
constexpr std::array<const char*, 3> kDevicesNames = {"unknown", "confined", "free"};
constexpr std::array<const char*, 3> kLogLevelNames = {"info", "warning", "error"};
constexpr std::array<const char*, 6> kMemoryUseNames = {"unknown", "image",   "own",
                                                        "storage", "windows", "iommu"};
constexpr std::array<const char*, 4> kGuestCpuStateNames = {"unknown", "held", "waits", "lost"};
constexpr std::array<const char*, 4> kUserStateNames = {"collected", "active", "crashed", "stuck"};
constexpr std::array<const char*, 5> kRegionStateNames = {"unknown", "kept", "filling", "live",
                                                          "leaving"};
constexpr std::array<const char*, 5> kVerdictNames = {"ok", "violated", "pending", "unverified",
                                                      "unprotected"};
constexpr std::array<const char*, VMSRS_STATUS_COUNT> kStatusNames = {
    "ok",          "unknown call",  "bad version",  "bad argument", "bad address", "bad length",
    "unaligned",   "page to touch", "not attached", "busy",         "denied",      "no storage",
    "no region",   "overlap",       "no user",      "user exists",  "no slot",     "crashed",
    "again",       "not found",     "wrong state",  "throttled",    "repeat",      "drain",
    "wait",        "read only",     "join",         "27",           "28",          "29",
    "other shape", "no engine"};

}  // namespace

const std::array<const char*, VMSRS_FAULT_KIND_COUNT> kFaultKindNames = {
    "none",    "wild",  "null",  "non_canonical", "bus",   "arithmetic",
    "illegal", "abort", "check", "storage",       "stack", "operator"};
const std::array<const char*, VMSRS_EXIT_REASON_COUNT> kExitReasonNames = {
    "vmmcall",         "cpuid",     "msr",  "nested_page_fault", "apic", "nmi", "init",
    "svm_instruction", "interrupt", "other"};
const std::array<const char*, VMSRS_CHECK_COUNT> kInvariantNames = {
    "hidden", "storage", "chains", "users", "mirror", "collected", "accounting", "windows"};

const std::array<const char*, VMSRS_RESTORE_CAUSE_COUNT> kRestoreCauseNames = {
    "demand", "crash", "collection", "sweep"};
const std::array<const char*, VMSRS_LIBRARY_CALLS> kLibraryCallNames = [] {
  std::array<const char*, VMSRS_LIBRARY_CALLS> names{};
  const auto name = [&names](vmsrs_call call, const char* text) {
    names[call - VMSRS_CALL_ATTACH] = text;
  };
  name(VMSRS_CALL_INIT_PROFILE, "init_profile");
  name(VMSRS_CALL_PROFILE, "profile");
  name(VMSRS_CALL_PROFILE_FILL, "profile_fill");
  name(VMSRS_CALL_UNPROFILE, "unprofile");
  name(VMSRS_CALL_PROFILE_NAMED, "profile_named");
  name(VMSRS_CALL_USER_AREAS, "user_areas");
  name(VMSRS_CALL_UNPROFILE_NAMED, "unprofile_named");
  name(VMSRS_CALL_PROFILE_FIND, "profile_find");
  name(VMSRS_CALL_PROFILE_JOIN, "profile_join");
  name(VMSRS_CALL_USER_AREAS_JOIN, "user_areas_join");
  name(VMSRS_CALL_WATCH_FAULTS, "watch_faults");
  name(VMSRS_CALL_USER_BEGIN, "user_begin");
  name(VMSRS_CALL_USER_END, "user_end");
  name(VMSRS_CALL_USER_CRASH, "user_crash");
  name(VMSRS_CALL_USER_COLLECT, "user_collect");
  name(VMSRS_CALL_USER_STUCK, "user_stuck");
  name(VMSRS_CALL_USER_DECLARE, "user_declare");
  name(VMSRS_CALL_USER_DRAINED, "user_drained");
  name(VMSRS_CALL_USER_EXPOSED, "user_exposed");
  name(VMSRS_CALL_USER_ABANDON, "user_abandon");
  name(VMSRS_CALL_USER_LABEL, "user_label");
  name(VMSRS_CALL_USER_SUSPEND, "user_suspend");
  name(VMSRS_CALL_USER_RESUME, "user_resume");
  name(VMSRS_CALL_STORE, "store");
  name(VMSRS_CALL_STORE_RANGE, "store_range");
  name(VMSRS_CALL_FILL_RANGE, "fill_range");
  name(VMSRS_CALL_LOAD, "load");
  name(VMSRS_CALL_LOAD_RANGE, "load_range");
  name(VMSRS_CALL_LOAD_COMMITTED, "load_committed");
  name(VMSRS_CALL_LOAD_SAMPLED, "load_sampled");
  name(VMSRS_CALL_SERVICE, "service");
  name(VMSRS_CALL_REPORT_HEAPS, "report_heaps");
  return names;
}();

const std::array<const char*, VMSRS_EVENT_TYPE_COUNT> kEventTypeNames = {
    "unknown",   "crash",        "suppression_began", "suppression_ended",  "stuck",    "unwound",
    "collected", "denied_calls", "storage_full",      "unprotected_stores", "attached", "detached",
    "reaped",    "events_lost"};
const std::array<const char*, VMSRS_GUEST_END_KIND_COUNT> kGuestEndNames = {
    "unknown", "shutdown", "panic", "reset", "hang"};
const std::array<const char*, 4> kContainmentNames = {"own", "contain", "observe", "off"};

const char* event_type_name(std::uint32_t type) { return name_in(kEventTypeNames, type); }
const char* fault_kind_name(std::uint32_t kind) { return name_in(kFaultKindNames, kind); }
const char* isolation_name(std::uint32_t isolation) { return name_in(kIsolationNames, isolation); }
const char* devices_name(std::uint64_t devices) {
  return name_in(kDevicesNames, static_cast<std::uint32_t>(devices));
}
const char* log_level_name(std::uint32_t level) { return name_in(kLogLevelNames, level); }
const char* memory_use_name(std::uint32_t use) { return name_in(kMemoryUseNames, use); }
const char* guest_end_name(std::uint32_t kind) { return name_in(kGuestEndNames, kind); }
const char* guest_cpu_state_name(std::uint32_t state) {
  return name_in(kGuestCpuStateNames, state);
}
const char* region_state_name(std::uint32_t state) { return name_in(kRegionStateNames, state); }
const char* user_state_name(std::uint32_t state) { return name_in(kUserStateNames, state); }
const char* containment_name(std::uint32_t mode) { return name_in(kContainmentNames, mode); }
std::optional<std::uint32_t> containment_called(const std::string& name) {
  for (std::uint32_t mode = 0; mode < kContainmentNames.size(); ++mode)
    if (name == kContainmentNames[mode]) return mode;
  return std::nullopt;
}
const char* verdict_name(std::uint32_t verdict) { return name_in(kVerdictNames, verdict); }

std::string status_name(vmsrs_status status) {
  const auto number = static_cast<std::size_t>(status);
  return number < kStatusNames.size() ? kStatusNames[number] : "a status that is not known here";
}

std::string dotted_version(std::uint32_t abi_version) {
  return std::to_string(abi_version >> 16) + "." + std::to_string(abi_version & 0xffffu);
}

std::string hexadecimal(std::uint64_t number) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

std::string label_text(std::span<const std::uint8_t> label) {
  std::string text;
  for (const std::uint8_t byte : label) {
    if (byte >= ' ' && byte <= '~' && byte != '\\') {
      text += static_cast<char>(byte);
    } else {
      text += "\\x";
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
  }
  return text;
}

std::string server_name(const vmsrs_server_info& info) { return printable_name(info.name); }
std::string region_name(const vmsrs_region_info& info) { return printable_name(info.name); }

}  // namespace vmsrs::channel
