// SPDX-License-Identifier: Apache-2.0
#include "api/documents.hpp"

#include "channel/names.hpp"
#include "daemon/version.hpp"

namespace vmsrs::api {
namespace {

double seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

const char* mode_name(bool suppression) { return suppression ? "suppression" : "normal"; }

Json fault_document(const vmsrs_fault& fault) {
  if (fault.kind == VMSRS_FAULT_NONE) return nullptr;
  return {{"kind", channel::fault_kind_name(fault.kind)},
          {"thread", fault.thread_id},
          {"address", channel::hexadecimal(fault.address)},
          {"instruction", channel::hexadecimal(fault.instruction)}};
}

Json restores_document(const vmsrs_server_info& info) {
  return {{"demand", info.demand_restore_count},
          {"crash", info.crash_restore_count},
          {"collection", info.collect_restore_count},
          {"sweep", info.sweep_restore_count}};
}

Json process_ids_document(const vmsrs_server_info& info) {
  Json list = Json::array();
  for (std::uint32_t i = 0; i < info.process_count && i < VMSRS_MAX_PROCESSES; ++i)
    list.push_back(info.process_ids[i]);
  return list;
}

template <typename Number>
std::uint64_t sum(const std::vector<vmsrs_server_info>& servers,
                  Number vmsrs_server_info::*member) {
  std::uint64_t total = 0;
  for (const vmsrs_server_info& info : servers) total += info.*member;
  return total;
}

}  // namespace

bool in_suppression(const vmsrs_server_info& info) {
  return (info.mode & VMSRS_MODE_SUPPRESSION) != 0;
}

Json faults_document(const std::uint64_t (&faults)[VMSRS_FAULT_KIND_COUNT]) {
  Json document = Json::object();
  for (std::uint32_t kind = VMSRS_FAULT_NONE + 1; kind < VMSRS_FAULT_KIND_COUNT; ++kind) {
    document[channel::fault_kind_name(kind)] = faults[kind];
  }
  return document;
}

Json server_document(const vmsrs_server_info& info) {
  return {{"name", channel::server_name(info)},
          {"id", info.server},
          {"attached", info.attached != 0},
          {"process", info.attached != 0 ? Json(info.process_id) : Json(nullptr)},
          {"processes", info.process_count},
          {"process_ids", process_ids_document(info)},
          {"mode", mode_name(in_suppression(info))},
          {"containment", channel::containment_name(info.containment)},
          {"active_users", info.active_users},
          {"suppressed_users", info.crashed_users},
          {"stuck_users", info.stuck_users},
          {"oldest_suppression_seconds", info.oldest_suppression_age_ns == 0
                                             ? Json(nullptr)
                                             : Json(seconds(info.oldest_suppression_age_ns))},
          {"suppression_seconds", seconds(info.suppression_ns)},
          {"regions", info.region_count},
          {"region_bytes", info.region_bytes},
          {"eager_regions", info.eager_region_count},
          {"kept_regions", info.kept_region_count},
          {"kept_region_bytes", info.kept_bytes},
          {"storage_used_bytes", info.storage_used_bytes},
          {"records", info.record_count},
          {"contended_granules", info.contended_granules},
          {"users_begun", info.user_count},
          {"users_finished", info.finished_count},
          {"users_collected", info.collected_count},
          {"users_exposed", info.exposed_user_count},
          {"stores", info.store_count},
          {"loads", info.load_count},
          {"suppressed_stores", info.suppressed_store_count},
          {"restores", restores_document(info)},
          {"restore_cycles", info.restore_cycles},
          {"quarantined_frees", info.quarantined_free_count},
          {"suppressions_ended", info.suppression_count},
          {"storage_exhausted", info.no_storage_count},
          {"unprotected_stores", info.unprotected_store_count},
          {"faults", faults_document(info.faults)}};
}

Json regions_document(const std::vector<vmsrs_server_info>& servers) {
  Json list = Json::array();
  for (const vmsrs_server_info& info : servers) {
    list.push_back({{"server", channel::server_name(info)},
                    {"regions", info.region_count},
                    {"region_bytes", info.region_bytes},
                    {"eager_regions", info.eager_region_count},
                    {"kept_regions", info.kept_region_count},
                    {"kept_region_bytes", info.kept_bytes},
                    {"storage_used_bytes", info.storage_used_bytes},
                    {"records", info.record_count},
                    {"contended_granules", info.contended_granules},
                    {"restores", restores_document(info)}});
  }
  return list;
}

Json region_document(const vmsrs_region_info& info) {
  const std::string name = channel::region_name(info);
  return {{"region", info.region},
          {"name", name.empty() ? Json(nullptr) : Json(name)},
          {"state", channel::region_state_name(info.state)},
          {"bytes", info.bytes},
          {"filled_bytes", info.filled_bytes},
          {"granule_bytes", info.granule_bytes},
          {"claims", (info.flags & VMSRS_REGION_CLAIMS) != 0},
          {"eager", (info.flags & VMSRS_REGION_EAGER) != 0},
          {"processes", info.process_count},
          {"process", info.process_count == 0 ? Json(nullptr) : Json(info.process_id)},
          {"address",
           info.process_count == 0 ? Json(nullptr) : Json(channel::hexadecimal(info.address))},
          {"records", info.record_count},
          {"mirror_pages", info.mirror_pages},
          {"head_pages", info.head_pages},
          {"restores", info.restore_count}};
}

Json map_document(const vmsrs_region_map& map, bool complete) {
  const bool taken = map.is_taken != 0;
  Json buckets = Json::array();
  for (std::uint32_t i = 0; i < map.bucket_count && i < VMSRS_MAP_BUCKETS; ++i) {
    const vmsrs_map_bucket& bucket = map.buckets[i];
    buckets.push_back({{"granules", bucket.granules},
                       {"owned", taken ? Json(bucket.owned) : Json(nullptr)},
                       {"recorded", taken ? Json(bucket.recorded) : Json(nullptr)},
                       {"contended", taken ? Json(bucket.contended) : Json(nullptr)},
                       {"restored", bucket.restored}});
  }
  return {{"complete", complete},
          {"age_seconds", taken ? Json(seconds(map.age_ns)) : Json(nullptr)},
          {"look_seconds", taken ? Json(seconds(map.duration_ns)) : Json(nullptr)},
          {"hidden_only", (map.flags & VMSRS_MAP_HIDDEN_ONLY) != 0},
          {"unreadable", (map.flags & VMSRS_MAP_UNREADABLE) != 0},
          {"bucket_granules", map.bucket_granules},
          {"buckets", std::move(buckets)}};
}

Json record_document(const vmsrs_record_info& info, bool values) {
  const auto digits = [&](const std::uint8_t(&bytes)[64], std::uint64_t mask) {
    std::string text;
    for (std::uint32_t i = 0; i < info.granule_bytes && i < sizeof bytes; ++i) {
      constexpr char kDigits[] = "0123456789abcdef";
      const bool known = (mask >> i & 1) != 0;
      text += known ? kDigits[bytes[i] >> 4] : '.';
      text += known ? kDigits[bytes[i] & 15] : '.';
    }
    return text;
  };
  const bool given = values && (info.flags & VMSRS_RECORD_VALUES) != 0;
  return {
      {"region", info.region},
      {"granule", info.granule},
      {"offset", std::uint64_t{info.granule} * info.granule_bytes},
      {"slot", info.slot},
      {"generation", info.generation},
      {"state", channel::user_state_name(info.state)},
      {"sequence", info.sequence},
      {"mask", channel::hexadecimal(info.mask)},
      {"written", given ? Json(digits(info.recorded_bytes, info.mask)) : Json(nullptr)},
      {"committed", given ? Json(digits(info.committed_bytes, ~std::uint64_t{0})) : Json(nullptr)}};
}

Json user_document(const vmsrs_user_info& info, const std::string& server,
                   const channel::UserLabel& label) {
  return {{"server", server},
          {"slot", info.slot},
          {"generation", info.generation},
          {"label", info.label},
          {"label_text", label.bytes == 0
                             ? Json(nullptr)
                             : Json(channel::label_text(std::span(label.text).first(label.bytes)))},
          {"state", channel::user_state_name(info.state)},
          {"faults", info.fault_count},
          {"first_fault", fault_document(info.fault)},
          {"age_seconds", seconds(info.begin_age_ns)},
          {"crashed_seconds_ago",
           info.crash_age_ns == 0 ? Json(nullptr) : Json(seconds(info.crash_age_ns))},
          {"suppressed_seconds", seconds(info.suppressed_ns)},
          {"suppressed_stores", info.suppressed_store_count},
          {"restores", info.restore_count},
          {"records", info.record_count},
          {"exposed", info.exposed != 0}};
}

Json exits_document(const std::vector<vmsrs_exits>& cpus) {
  Json list = Json::array();
  for (const vmsrs_exits& exits : cpus) {
    Json reasons = Json::object();
    for (std::size_t i = 0; i < VMSRS_EXIT_REASON_COUNT; ++i) {
      reasons[channel::kExitReasonNames[i]] = {{"count", exits.count[i]},
                                               {"cycles", exits.cycles[i]}};
    }
    list.push_back({{"cpu", exits.cpu}, {"reasons", std::move(reasons)}});
  }
  return list;
}

Json log_document(const std::vector<vmsrs_log_line>& lines) {
  Json list = Json::array();
  for (const vmsrs_log_line& line : lines) {
    const auto* const text = reinterpret_cast<const std::uint8_t*>(line.text);
    const std::size_t length = std::min<std::size_t>(line.length, sizeof line.text);
    list.push_back({{"sequence", line.sequence},
                    {"seconds", seconds(line.time_ns)},
                    {"cpu", line.cpu},
                    {"level", channel::log_level_name(line.level)},
                    {"text", channel::label_text({text, length})}});
  }
  return list;
}

Json guest_end_document(const vmsrs_guest_end& end, const std::vector<vmsrs_guest_cpu>& cpus) {
  Json list = Json::array();
  for (const vmsrs_guest_cpu& cpu : cpus) {
    Json registers = {
        {"rip", channel::hexadecimal(cpu.rip)},       {"rsp", channel::hexadecimal(cpu.rsp)},
        {"rflags", channel::hexadecimal(cpu.rflags)}, {"cr0", channel::hexadecimal(cpu.cr0)},
        {"cr2", channel::hexadecimal(cpu.cr2)},       {"cr3", channel::hexadecimal(cpu.cr3)},
        {"cr4", channel::hexadecimal(cpu.cr4)},       {"efer", channel::hexadecimal(cpu.efer)},
        {"cs", channel::hexadecimal(cpu.cs)},         {"rax", channel::hexadecimal(cpu.rax)},
        {"rbx", channel::hexadecimal(cpu.rbx)},       {"rcx", channel::hexadecimal(cpu.rcx)},
        {"rdx", channel::hexadecimal(cpu.rdx)},       {"rsi", channel::hexadecimal(cpu.rsi)},
        {"rdi", channel::hexadecimal(cpu.rdi)},       {"rbp", channel::hexadecimal(cpu.rbp)}};
    constexpr const char* kHigh[] = {"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    for (std::size_t i = 0; i < std::size(kHigh); ++i)
      registers[kHigh[i]] = channel::hexadecimal(cpu.r8_to_r15[i]);
    list.push_back({{"cpu", cpu.cpu},
                    {"state", channel::guest_cpu_state_name(cpu.state)},
                    {"privilege_level", cpu.privilege_level},
                    {"registers", std::move(registers)},
                    {"exit",
                     {{"code", channel::hexadecimal(cpu.exit_code)},
                      {"info1", channel::hexadecimal(cpu.exit_info1)},
                      {"info2", channel::hexadecimal(cpu.exit_info2)}}}});
  }
  return {{"kind", channel::guest_end_name(end.kind)},
          {"cpu", end.cpu},
          {"start", end.start},
          {"detail", channel::hexadecimal(end.detail)},
          {"log_sequence", end.log_sequence},
          {"cpus", std::move(list)}};
}

Json memory_document(const std::vector<vmsrs_memory_range>& ranges) {
  Json list = Json::array();
  for (const vmsrs_memory_range& range : ranges) {
    list.push_back({{"begin", channel::hexadecimal(range.begin)},
                    {"end", channel::hexadecimal(range.end)},
                    {"bytes", range.end - range.begin},
                    {"use", channel::memory_use_name(range.use)}});
  }
  return list;
}

Json watch_document(std::uint32_t bits) {
  return {{"ends", (bits & VMSRS_WATCH_ENDS) != 0},
          {"panic", (bits & VMSRS_WATCH_PANIC) != 0},
          {"hang", (bits & VMSRS_WATCH_HANG) != 0}};
}

Json host_document(const vmsrs_stats& stats) {
  return {{"protection", stats.engine_abandoned == 0},
          {"isolation", channel::isolation_name(stats.isolation)},
          {"devices", channel::devices_name(stats.devices)},
          {"version", daemon::kVersion},
          {"abi", channel::dotted_version(stats.abi_version)},
          {"cpus", stats.cpu_count},
          {"guest_start", stats.guest_start == 0 ? Json(nullptr) : Json(stats.guest_start)},
          {"guest_watch", watch_document(stats.guest_watch)},
          {"uptime_seconds", seconds(stats.uptime_ns)},
          {"cycles_per_second",
           stats.cycles_per_second == 0 ? Json(nullptr) : Json(stats.cycles_per_second)},
          {"hidden_bytes", stats.hidden_bytes},
          {"storage_bytes", stats.storage_bytes},
          {"storage_used_bytes", stats.storage_used_bytes},
          {"hidden_accesses_refused", stats.hidden_access_count},
          {"window_writes_refused", stats.window_write_count},
          {"denied_calls", stats.denied_call_count},
          {"refused_calls", stats.refused_call_count},
          {"faults", faults_document(stats.faults)}};
}

Json status_document(const vmsrs_stats& stats, const std::vector<vmsrs_server_info>& servers) {
  using Info = vmsrs_server_info;
  bool suppression = false;
  for (const Info& info : servers) suppression = suppression || in_suppression(info);
  Json document = {{"mode", stats.engine_abandoned == 0 ? mode_name(suppression) : "unprotected"},
                   {"servers_defined", servers.size()},
                   {"servers_attached", sum(servers, &Info::attached)},
                   {"active_users", sum(servers, &Info::active_users)},
                   {"suppressed_users", sum(servers, &Info::crashed_users)},
                   {"stuck_users", sum(servers, &Info::stuck_users)},
                   {"users_finished", sum(servers, &Info::finished_count)},
                   {"users_collected", sum(servers, &Info::collected_count)},
                   {"suppressed_stores", sum(servers, &Info::suppressed_store_count)},
                   {"restores",
                    {{"demand", sum(servers, &Info::demand_restore_count)},
                     {"crash", sum(servers, &Info::crash_restore_count)},
                     {"collection", sum(servers, &Info::collect_restore_count)},
                     {"sweep", sum(servers, &Info::sweep_restore_count)}}}};
  document.update(host_document(stats));
  Json list = Json::array();
  for (const Info& info : servers) {
    list.push_back({{"name", channel::server_name(info)},
                    {"attached", info.attached != 0},
                    {"mode", mode_name(in_suppression(info))},
                    {"active_users", info.active_users},
                    {"suppressed_users", info.crashed_users},
                    {"stuck_users", info.stuck_users}});
  }
  document["servers"] = std::move(list);
  return document;
}

Json checks_document(const vmsrs_check_report& report,
                     const std::vector<vmsrs_server_info>& servers) {
  Json list = Json::array();
  for (std::size_t i = 0; i < VMSRS_CHECK_COUNT; ++i) {
    const vmsrs_check_result& result = report.results[i];
    Json check = {{"name", channel::kInvariantNames[i]},
                  {"verdict", channel::verdict_name(result.verdict)},
                  {"examined", result.examined_count},
                  {"violations", result.violation_count},
                  {"first_server", nullptr},
                  {"first_detail", nullptr},
                  {"reason", nullptr}};
    if (result.verdict == VMSRS_VERDICT_VIOLATED || result.verdict == VMSRS_VERDICT_UNPROTECTED) {
      for (const vmsrs_server_info& info : servers) {
        if (info.server == result.server) check["first_server"] = channel::server_name(info);
      }
      check["first_detail"] = channel::hexadecimal(result.detail);
    }
    if (i == VMSRS_CHECK_HIDDEN && result.verdict == VMSRS_VERDICT_VIOLATED &&
        result.detail == VMSRS_DETAIL_DEVICES_FREE)
      check["reason"] = "no IOMMU keeps devices from hidden memory";
    if (i == VMSRS_CHECK_HIDDEN && result.verdict == VMSRS_VERDICT_OK &&
        result.detail == VMSRS_DETAIL_INIT_UNVERIFIED)
      check["reason"] = "unverified: that a device's INIT is stopped (docs/hardware.md)";
    list.push_back(std::move(check));
  }
  return list;
}

Json last_check_document(const std::optional<daemon::CheckLedger::Entry>& last) {
  if (!last) return nullptr;
  std::uint64_t violated = 0;
  std::uint64_t unverified = 0;
  std::uint64_t unprotected = 0;
  for (const vmsrs_check_result& result : last->report.results) {
    if (result.verdict == VMSRS_VERDICT_VIOLATED) ++violated;
    if (result.verdict == VMSRS_VERDICT_UNVERIFIED) ++unverified;
    if (result.verdict == VMSRS_VERDICT_UNPROTECTED) ++unprotected;
  }
  return {{"time", last->unix_time},
          {"ok", violated == 0 && unverified == 0 && unprotected == 0},
          {"violated", violated},
          {"unverified", unverified},
          {"unprotected", unprotected}};
}

}  // namespace vmsrs::api
