// SPDX-License-Identifier: Apache-2.0
#include "fake_channel.hpp"

#include <algorithm>
#include <cstring>

namespace vmsrs::test {
namespace {

constexpr std::uint64_t kSecond = 1000000000;

vmsrs_server_info shop() {
  vmsrs_server_info info{};
  std::strcpy(info.name, "shop");
  info.server = 0;
  info.attached = 1;
  info.process_id = info.process_ids[0] = 4242;
  info.process_count = 1;
  info.region_count = 2;
  info.region_bytes = 1 << 20;
  info.storage_used_bytes = 3 << 20;
  info.mode = (5 << 1) | VMSRS_MODE_SUPPRESSION;
  info.active_users = 3;
  info.crashed_users = 2;
  info.stuck_users = 1;
  info.oldest_suppression_age_ns = 90 * kSecond;
  info.suppression_ns = 120 * kSecond + kSecond / 2;
  info.faults[VMSRS_FAULT_WILD] = 4;
  info.faults[VMSRS_FAULT_ARITHMETIC] = 1;
  info.user_count = 1000;
  info.finished_count = 990;
  info.collected_count = 5;
  info.store_count = 50000;
  info.load_count = 700;
  info.suppressed_store_count = 33;
  info.demand_restore_count = 21;
  info.crash_restore_count = 13;
  info.collect_restore_count = 8;
  info.restore_cycles = 123456;
  info.suppression_count = 4;
  info.suppression_histogram[0] = 1;
  info.suppression_histogram[3] = 2;
  info.suppression_histogram[11] = 2;
  info.ended_suppression_ns = 700 * kSecond;
  info.contended_granules = 6;
  info.exposed_user_count = 15;
  info.record_count = 17;
  info.no_storage_count = 9;
  info.sweep_restore_count = 2;
  info.unprotected_store_count = 14;
  info.eager_region_count = 1;
  info.kept_region_count = 1;
  info.kept_bytes = 1 << 16;
  info.quarantined_free_count = 16;
  return info;
}

vmsrs_user_info user(std::uint32_t slot, std::uint32_t state) {
  vmsrs_user_info info{};
  info.slot = slot;
  info.generation = 10 + slot;
  info.label = 100 + slot;
  info.state = state;
  info.begin_age_ns = 2 * kSecond;
  info.exposed = state == VMSRS_USER_ACTIVE;
  if (state == VMSRS_USER_ACTIVE) return info;
  info.fault_count = 1;
  info.fault = {VMSRS_FAULT_WILD, 77, 0xdeadbeef000, 0x401000};
  info.crash_age_ns = kSecond;
  info.suppressed_ns = kSecond / 4;
  info.suppressed_store_count = 11;
  info.restore_count = 7;
  info.record_count = state == VMSRS_USER_FREE ? 0 : 5;
  return info;
}

vmsrs_region_info region(std::uint32_t number, const char* name, std::uint32_t state) {
  vmsrs_region_info info{};
  std::strcpy(info.name, name);
  info.region = number;
  info.state = state;
  info.bytes = 512 << 10;
  info.granule_bytes = 64;
  info.mirror_pages = 128;
  info.head_pages = 9;
  info.restore_count = 7;
  if (state == VMSRS_REGION_KEPT) return info;
  info.filled_bytes = info.bytes;
  info.flags = VMSRS_REGION_CLAIMS | VMSRS_REGION_EAGER;
  info.process_count = 1;
  info.process_id = 4242;
  info.address = 0x7f0000200000;
  info.record_count = 3;
  return info;
}

// 128 buckets of 64 granules: the first contended, the second owned, the fourth restored.
vmsrs_region_map map() {
  vmsrs_region_map map{};
  map.bucket_count = VMSRS_MAP_BUCKETS;
  map.bucket_granules = 64;
  map.is_taken = 1;
  map.age_ns = 2 * kSecond;
  map.duration_ns = kSecond / 100;
  for (vmsrs_map_bucket& bucket : map.buckets) bucket.granules = 64;
  map.buckets[0] = {64, 5, 2, 1, 3};
  map.buckets[1] = {64, 4, 0, 0, 0};
  map.buckets[3].restored = 4;
  map.buckets[127] = {64, 1, 1, 0, 0};
  return map;
}

vmsrs_record_info record(std::uint32_t region, std::uint32_t granule, std::uint32_t slot,
                         std::uint64_t mask) {
  vmsrs_record_info info{};
  info.sequence = 40 + granule;
  info.generation = 10 + slot;
  info.mask = mask;
  info.region = region;
  info.granule = granule;
  info.slot = slot;
  info.state = slot == 1 ? VMSRS_USER_ACTIVE : VMSRS_USER_CRASHED;
  info.granule_bytes = 8;
  info.flags = VMSRS_RECORD_VALUES;
  for (std::uint8_t i = 0; i < 8; ++i) {
    info.recorded_bytes[i] = (mask >> i & 1) != 0 ? static_cast<std::uint8_t>(0xa0 + i) : 0;
    info.committed_bytes[i] = i;
  }
  return info;
}

vmsrs_exits exits_of(std::uint32_t cpu) {
  vmsrs_exits exits{};
  exits.cpu = cpu;
  for (std::uint32_t i = 0; i < VMSRS_EXIT_REASON_COUNT; ++i) {
    exits.count[i] = 100 * (cpu + 1) + i;
    exits.cycles[i] = 1000 * exits.count[i];
  }
  return exits;
}

}  // namespace

FakeChannel::FakeChannel() {
  stats_now.abi_version = VMSRS_ABI_VERSION;
  stats_now.isolation = VMSRS_ISOLATION_HYPERVISOR;
  stats_now.devices = VMSRS_DEVICES_CONFINED;
  stats_now.cpu_count = 2;
  stats_now.server_count = 2;
  stats_now.uptime_ns = 3600 * kSecond;
  stats_now.cycles_per_second = 2'000'000'000;
  works_now.resize(2);
  works_now[0].restore_histogram[VMSRS_RESTORED_DEMAND][2] = 20;
  works_now[0].restore_histogram[VMSRS_RESTORED_DEMAND][9] = 1;
  works_now[0].restore_histogram[VMSRS_RESTORED_CRASH][0] = 13;
  works_now[0].restore_histogram[VMSRS_RESTORED_COLLECTION][4] = 8;
  works_now[0].restore_cycles[VMSRS_RESTORED_DEMAND] = 5'000'000;
  works_now[0].calls[VMSRS_CALL_STORE - VMSRS_CALL_ATTACH] = 50'000;
  stats_now.hold_count = 3;
  stats_now.hold_cycles = 600'000;
  stats_now.hidden_bytes = 64 << 20;
  stats_now.storage_bytes = 60 << 20;
  stats_now.storage_used_bytes = 3 << 20;
  stats_now.hidden_access_count = 2;
  stats_now.window_write_count = 3;
  stats_now.denied_call_count = 4;
  stats_now.refused_call_count = 5;
  stats_now.faults[VMSRS_FAULT_WILD] = 4;
  stats_now.faults[VMSRS_FAULT_ARITHMETIC] = 1;

  const auto say = [&](std::uint64_t sequence, vmsrs_log_level level, const char* text) {
    vmsrs_log_line line{};
    line.sequence = sequence;
    line.time_ns = sequence * kSecond / 2;
    line.cpu = 1;
    line.level = static_cast<std::uint16_t>(level);
    line.length = static_cast<std::uint16_t>(std::strlen(text));
    std::memcpy(line.text, text, line.length);
    log_now.push_back(line);
  };
  say(7, VMSRS_LOG_INFO, "hypervisor, ABI 1.0");
  say(8, VMSRS_LOG_WARNING, "no IOMMU: whoever drives a device\x1b can have it change memory");
  say(9, VMSRS_LOG_ERROR, "CPU 1: guest shutdown");
  // The third start: a panic of CPU 1 ended the first, a reset of CPU 0 the second.
  stats_now.guest_start = 3;
  stats_now.guest_watch = VMSRS_WATCH_ENDS | VMSRS_WATCH_PANIC;
  const auto end = [&](std::uint64_t sequence, std::uint32_t kind, std::uint32_t cpu,
                       std::uint64_t detail) {
    vmsrs_guest_end record = guest_ends_now.empty() ? vmsrs_guest_end{} : guest_ends_now.back();
    record.sequence = sequence;
    record.time_ns = sequence * 600 * kSecond;
    record.kind = kind;
    record.cpu = cpu;
    record.start = static_cast<std::uint32_t>(sequence);
    record.cpu_count = 2;
    record.detail = detail;
    record.log_sequence = 7 + sequence;
    record.boot = 0xb007;
    ++record.counts[kind];
    guest_ends_now.push_back(record);
  };
  end(1, VMSRS_GUEST_PANIC, 1, 1);
  end(2, VMSRS_GUEST_RESET, 0, std::uint64_t{0xcf9} << 32 | 6);
  memory_now = {{0x200000, 0x400000, VMSRS_MEMORY_IMAGE, 0},
                {0x3a000000, 0x3a200000, VMSRS_MEMORY_OWN, 0},
                {0x3a200000, 0x3e000000, VMSRS_MEMORY_STORAGE, 0},
                {0x39e00000, 0x3a000000, VMSRS_MEMORY_WINDOWS, 0}};

  vmsrs_server_info roster{};
  std::strcpy(roster.name, "roster");
  roster.server = 1;
  servers_now = {shop(), roster};
  users_now[0] = {user(1, VMSRS_USER_ACTIVE), user(3, VMSRS_USER_CRASHED),
                  user(4, VMSRS_USER_STUCK), user(7, VMSRS_USER_FREE)};
  // What would clear a terminal, end a JSON string, and pass for an escape.
  labels_now[3] = std::string("trace \x1b[2J\"\\x1b\0\xff", 17);
  for (vmsrs_user_info& info : users_now[0])
    if (labels_now.contains(info.slot)) info.label_bytes = 17;
  regions_now[0] = {region(0, "carts", VMSRS_REGION_LIVE), region(3, "", VMSRS_REGION_LIVE),
                    region(5, "stock", VMSRS_REGION_KEPT)};
  regions_now[0][1].flags = 0;
  map_now = map();
  records_now[0] = {record(0, 2, 1, 0xff), record(0, 2, 3, 0x0f), record(3, 9, 3, 0)};
  exits_now = {exits_of(0), exits_of(1)};
  for (vmsrs_check_result& result : report_now.results) result.examined_count = 12;
}

vmsrs_status FakeChannel::version(channel::Version& version) {
  version = {VMSRS_ABI_VERSION, VMSRS_ISOLATION_HYPERVISOR};
  return VMSRS_OK;
}

vmsrs_status FakeChannel::stats(vmsrs_stats& stats) {
  const std::lock_guard guard(lock_);
  stats = stats_now;
  return stats_status;
}

vmsrs_status FakeChannel::exits(std::uint32_t cpu, vmsrs_exits& exits) {
  const std::lock_guard guard(lock_);
  if (exits_status != VMSRS_OK) return exits_status;
  if (cpu >= exits_now.size()) return VMSRS_NOT_FOUND;
  exits = exits_now[cpu];
  return VMSRS_OK;
}

vmsrs_status FakeChannel::log(std::uint64_t cursor, std::span<vmsrs_log_line> lines,
                              channel::LogPage& page) {
  const std::lock_guard guard(lock_);
  page = {0, cursor};
  for (const vmsrs_log_line& line : log_now) {
    if (line.sequence < cursor || page.count == std::min<std::size_t>(lines.size(), 2)) continue;
    lines[page.count++] = line;
    page.next_cursor = line.sequence + 1;
  }
  return VMSRS_OK;
}

vmsrs_status FakeChannel::memory(std::vector<vmsrs_memory_range>& ranges) {
  const std::lock_guard guard(lock_);
  ranges = memory_now;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::server(std::uint32_t index, vmsrs_server_info& info) {
  const std::lock_guard guard(lock_);
  if (stats_now.engine_abandoned != 0) return VMSRS_NO_ENGINE;
  if (index >= servers_now.size()) return VMSRS_NOT_FOUND;
  info = servers_now[index];
  return VMSRS_OK;
}

vmsrs_status FakeChannel::work(std::uint32_t index, vmsrs_server_work& work) {
  const std::lock_guard guard(lock_);
  if (stats_now.engine_abandoned != 0) return VMSRS_NO_ENGINE;
  if (works_now.empty()) return VMSRS_UNKNOWN_CALL;
  if (index >= works_now.size()) return VMSRS_NOT_FOUND;
  work = works_now[index];
  return VMSRS_OK;
}

vmsrs_status FakeChannel::users(std::uint32_t server, std::uint64_t cursor,
                                std::span<vmsrs_user_info> records, channel::ListPage& page) {
  const std::lock_guard guard(lock_);
  const std::vector<vmsrs_user_info>& all = users_now[server];
  page = {};
  while (cursor < all.size() && page.count < std::min(users_in_answer, records.size())) {
    records[page.count++] = all[cursor++];
  }
  page.next_cursor = cursor < all.size() ? cursor : 0;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::regions(std::uint32_t server, std::uint64_t cursor,
                                  std::span<vmsrs_region_info> records, channel::ListPage& page) {
  const std::lock_guard guard(lock_);
  const std::vector<vmsrs_region_info>& all = regions_now[server];
  page = {};
  while (cursor < all.size() && page.count < std::min<std::size_t>(2, records.size()))
    records[page.count++] = all[cursor++];
  page.next_cursor = cursor < all.size() ? cursor : 0;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::region_map(std::uint32_t, std::uint32_t region, bool anew,
                                     vmsrs_region_map& map) {
  const std::lock_guard guard(lock_);
  calls.push_back(anew ? "map anew" : "map on");
  map = map_now;
  map.region = region;
  if (maps_pending == 0) return VMSRS_OK;
  --maps_pending;
  return VMSRS_AGAIN;
}

// One record a page, and an empty page before each.
vmsrs_status FakeChannel::records(std::uint32_t server, std::uint64_t region, std::uint64_t cursor,
                                  std::span<vmsrs_record_info> records, channel::ListPage& page) {
  const std::lock_guard guard(lock_);
  const std::vector<vmsrs_record_info>& all = records_now[server];
  page = {};
  const std::uint64_t place = cursor / 2;
  if (place >= all.size()) return VMSRS_OK;
  const bool wanted = region == channel::kEveryRegion || all[place].region == region;
  if (cursor % 2 != 0 && wanted) records[page.count++] = all[place];
  page.next_cursor = (cursor + 1) / 2 < all.size() ? cursor + 1 : 0;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::label(const vmsrs_user_info& user, channel::UserLabel& label) {
  const std::lock_guard guard(lock_);
  if (!labels_now.contains(user.slot)) return VMSRS_NOT_FOUND;
  const std::string& text = labels_now[user.slot];
  label.bytes = text.size();
  std::copy(text.begin(), text.end(), label.text.begin());
  return VMSRS_OK;
}

vmsrs_status FakeChannel::check(bool start_anew, vmsrs_check_report& report) {
  const std::lock_guard guard(lock_);
  if (stats_now.engine_abandoned != 0) return VMSRS_NO_ENGINE;
  calls.push_back(start_anew ? "check anew" : "check on");
  report = report_now;
  if (checks_pending == 0) return VMSRS_OK;
  --checks_pending;
  report.results[VMSRS_CHECK_MIRROR].verdict = VMSRS_VERDICT_PENDING;
  return VMSRS_AGAIN;
}

vmsrs_status FakeChannel::define(const vmsrs_server_definition& definition, std::uint32_t& server) {
  const std::lock_guard guard(lock_);
  calls.push_back(std::string("define ") + definition.name);
  definitions.push_back(definition);
  server = static_cast<std::uint32_t>(servers_now.size());
  return VMSRS_OK;
}

vmsrs_status FakeChannel::collect(std::uint32_t server, std::uint64_t slot,
                                  std::uint64_t& records_left) {
  const std::lock_guard guard(lock_);
  calls.push_back("collect " + std::to_string(server) +
                  (slot == channel::kEveryCrashedUser ? " all" : " " + std::to_string(slot)));
  records_left = 0;
  if (slot == 1) return VMSRS_WRONG_STATE;
  if (collections_pending == 0) return VMSRS_OK;
  if (--collections_pending == 0) servers_now[server].collect_restore_count += 2;
  records_left = 5;
  return VMSRS_AGAIN;
}

// Each scrub of the shop restores three granules.
vmsrs_status FakeChannel::scrub(std::uint64_t server, std::uint64_t bytes,
                                channel::ScrubProgress& progress) {
  const std::lock_guard guard(lock_);
  calls.push_back("scrub " + (server == channel::kEveryServer ? "all" : std::to_string(server)) +
                  " " + (bytes == channel::kEveryByte ? "all" : std::to_string(bytes)));
  if (scrub_status != VMSRS_OK) return scrub_status;
  progress = {0, server == 1 ? 0u : 5u};
  if (scrubs_pending == 0) return VMSRS_OK;
  --scrubs_pending;
  progress.bytes_left = 4096;
  return VMSRS_AGAIN;
}

vmsrs_status FakeChannel::guest_ends(std::uint64_t cursor, std::span<vmsrs_guest_end> ends,
                                     channel::LogPage& page) {
  const std::lock_guard guard(lock_);
  page = {0, cursor};
  for (const vmsrs_guest_end& end : guest_ends_now) {
    if (end.sequence < cursor || page.count == std::min<std::size_t>(ends.size(), 1)) continue;
    ends[page.count++] = end;
    page.next_cursor = end.sequence + 1;
  }
  return VMSRS_OK;
}

vmsrs_status FakeChannel::events(std::uint64_t cursor, std::span<vmsrs_event> events,
                                 channel::LogPage& page) {
  const std::lock_guard guard(lock_);
  if (events_status != VMSRS_OK) return events_status;
  page = {0, cursor};
  for (const vmsrs_event& event : events_now) {
    if (event.sequence < cursor || page.count == std::min<std::size_t>(events.size(), 2)) continue;
    events[page.count++] = event;
    page.next_cursor = event.sequence + 1;
  }
  return VMSRS_OK;
}

vmsrs_status FakeChannel::acknowledge_events(std::uint64_t sequence) {
  const std::lock_guard guard(lock_);
  if (events_status != VMSRS_OK) return events_status;
  std::erase_if(events_now, [&](const vmsrs_event& event) { return event.sequence <= sequence; });
  return VMSRS_OK;
}

vmsrs_status FakeChannel::guest_cpu(std::uint64_t sequence, std::uint32_t cpu,
                                    vmsrs_guest_cpu& state) {
  const std::lock_guard guard(lock_);
  state = {};
  if (cpu >= 2) return VMSRS_NOT_FOUND;
  state.cpu = cpu;
  state.state = cpu == 0 ? VMSRS_GUEST_CPU_HELD : VMSRS_GUEST_CPU_LOST;
  state.cs = 0x10;
  state.rip = 0xffffffff81000000 + 0x1000 * sequence + cpu;
  state.r8_to_r15[7] = 0x15;
  state.exit_code = 0x7b;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::announce_reset(bool wanted) {
  const std::lock_guard guard(lock_);
  calls.push_back(std::string("announce reset ") + (wanted ? "1" : "0"));
  return announce_status;
}

vmsrs_status FakeChannel::suppress(std::uint32_t server, std::uint32_t slot,
                                   std::uint64_t generation) {
  const std::lock_guard guard(lock_);
  calls.push_back("suppress " + std::to_string(server) + " " + std::to_string(slot) + " " +
                  std::to_string(generation));
  for (vmsrs_user_info& user : users_now[server]) {
    if (user.slot != slot || user.generation != generation || user.state == VMSRS_USER_FREE)
      continue;
    if (user.state == VMSRS_USER_ACTIVE) user.state = VMSRS_USER_CRASHED;
    return VMSRS_OK;
  }
  return VMSRS_NOT_FOUND;
}

vmsrs_status FakeChannel::contain(std::uint32_t server, std::uint32_t mode) {
  const std::lock_guard guard(lock_);
  calls.push_back("contain " + std::to_string(server) + " " + std::to_string(mode));
  if (server < servers_now.size()) servers_now[server].containment = mode;
  return VMSRS_OK;
}

vmsrs_status FakeChannel::change_secret(const std::array<std::uint8_t, VMSRS_HASH_BYTES>&) {
  const std::lock_guard guard(lock_);
  calls.emplace_back("change_secret");
  return VMSRS_OK;
}

vmsrs_status FakeChannel::reap(std::uint32_t server, std::uint32_t process_id) {
  const std::lock_guard guard(lock_);
  calls.push_back("reap " + std::to_string(server) + " " + std::to_string(process_id));
  return VMSRS_OK;
}

daemon::Clock fixed_clock() {
  return {[] { return 1700000000.0; }, [] { return 5.0; }};
}

}  // namespace vmsrs::test
