// SPDX-License-Identifier: Apache-2.0
#include "daemon/event_documents.hpp"

#include <cstdio>
#include <filesystem>
#include <ops_common/json_text.hpp>

#include "api/documents.hpp"
#include "channel/names.hpp"

namespace vmsrs::daemon {
namespace {

double seconds_of(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string printable(const std::string& text) {
  return channel::label_text({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

Json place_document(const store::Place& place) {
  return {{"address", channel::hexadecimal(place.address)},
          {"module", place.module ? Json(printable(*place.module)) : Json(nullptr)},
          {"offset", place.offset ? Json(channel::hexadecimal(*place.offset)) : Json(nullptr)},
          {"symbol", place.symbol ? Json(printable(*place.symbol)) : Json(nullptr)},
          {"symbol_offset",
           place.symbol_offset ? Json(channel::hexadecimal(*place.symbol_offset)) : Json(nullptr)}};
}

// A return address belongs to the call before it, which may be the last instruction of a function.
store::Place caller_place(store::Symbols& symbols, std::uint32_t process_id,
                          std::uint64_t address) {
  store::Place place = symbols.place(process_id, address - 1);
  place.address = address;
  if (place.offset) ++*place.offset;
  if (place.symbol_offset) ++*place.symbol_offset;
  return place;
}

// The fields that every event has, in their order; `null` where it has none.
Json empty_document() {
  Json document = Json::object();
  for (const char* name :
       {"seconds", "generation", "label", "label_text", "process", "fault", "backtrace", "exposed",
        "duration_seconds", "count", "suppressed_stores", "restored", "detail"})
    document[name] = nullptr;
  return document;
}

std::string server_called(std::uint32_t server, const std::vector<vmsrs_server_info>& servers) {
  for (const vmsrs_server_info& info : servers)
    if (info.server == server) return channel::server_name(info);
  return "number " + std::to_string(server);
}

// What the library calls the dump of the first fault there (guestlib/src/dump.hpp).
std::string dump_file(const std::string& folder, const store::Place& place) {
  constexpr std::size_t kLongestModule = 127;
  const std::string module =
      std::filesystem::path(*place.module).filename().string().substr(0, kLongestModule);
  std::string file = folder + "/";
  for (const char c : module) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_' || c == '+';
    file += plain ? c : '_';
  }
  if (place.build) file += "-" + *place.build;
  return file + "+" + channel::hexadecimal(*place.offset).substr(2) + ".core";
}

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() == std::filesystem::file_type::regular;
}

Json fault_document(const vmsrs_event& event, store::Symbols& symbols,
                    const std::string& dump_folder) {
  if (event.fault.kind == VMSRS_FAULT_NONE) return nullptr;
  Json document = {{"kind", channel::fault_kind_name(event.fault.kind)},
                   {"thread", event.fault.thread_id},
                   {"address", channel::hexadecimal(event.fault.address)},
                   {"instruction", channel::hexadecimal(event.fault.instruction)},
                   {"count", event.fault_count}};
  const store::Place place = symbols.place(event.process_id, event.fault.instruction);
  const Json words = place_document(place);
  for (const char* name : {"module", "offset", "symbol", "symbol_offset"})
    document[name] = words[name];
  document["dump"] = nullptr;
  const auto program = symbols.program(event.process_id);
  if (!dump_folder.empty() && place.module && place.offset && program)
    document["dump"] = {{"file", dump_file(dump_folder, place)}, {"program", printable(*program)}};
  return document;
}

Json backtrace_document(const vmsrs_event& event, store::Symbols& symbols) {
  Json list = Json::array();
  for (std::uint32_t i = 0; i < event.trace_count && i < VMSRS_TRACE_FRAMES; ++i)
    list.push_back(place_document(caller_place(symbols, event.process_id, event.trace[i])));
  return list;
}

Json restored_document(const vmsrs_event& event) {
  Json document = Json::object();
  for (std::size_t i = 0; i < VMSRS_RESTORE_CAUSE_COUNT; ++i)
    document[channel::kRestoreCauseNames[i]] = event.restored[i];
  return document;
}

bool has_duration(std::uint32_t type) {
  switch (type) {
    case VMSRS_EVENT_SUPPRESSION_ENDED:
    case VMSRS_EVENT_COLLECTED:
    case VMSRS_EVENT_DENIED:
    case VMSRS_EVENT_STORAGE_FULL:
    case VMSRS_EVENT_UNPROTECTED:
    case VMSRS_EVENT_LOST:
      return true;
    default:
      return false;
  }
}

bool has_count(std::uint32_t type) {
  return has_duration(type) || type == VMSRS_EVENT_ATTACHED || type == VMSRS_EVENT_REAPED;
}

const char* source_name(store::Source source) {
  switch (source) {
    case store::Source::kEngine:
      return "engine";
    case store::Source::kGuest:
      return "guest";
    case store::Source::kDaemon:
      return "daemon";
  }
  return "unknown";
}

}  // namespace

const std::vector<std::string>& event_types() {
  static const std::vector<std::string> types = [] {
    std::vector<std::string> all(channel::kEventTypeNames.begin() + 1,
                                 channel::kEventTypeNames.end());
    for (const char* type : {"guest_end", "check_failed", "store_damaged", "clock_jumped"})
      all.emplace_back(type);
    return all;
  }();
  return types;
}

std::string boot_text(std::uint64_t boot) {
  char text[16 + 1];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(boot));
  return text;
}

store::Event engine_event(const vmsrs_event& event, double boot_time,
                          const std::vector<vmsrs_server_info>& servers, store::Symbols& symbols,
                          const std::string& dump_folder) {
  store::Event row;
  row.boot = boot_text(event.boot);
  row.source = store::Source::kEngine;
  row.sequence = event.sequence;
  row.time = boot_time + seconds_of(event.time_ns);
  row.type = channel::event_type_name(event.type);
  if (event.server != VMSRS_EVENT_NO_SERVER) row.server = server_called(event.server, servers);
  Json document = empty_document();
  document["seconds"] = seconds_of(event.time_ns);
  if (event.slot != VMSRS_EVENT_NO_USER) {
    row.slot = event.slot;
    document["generation"] = event.generation;
    document["label"] = event.label;
    if (event.label_bytes != 0) {
      const std::size_t bytes = std::min<std::size_t>(event.label_bytes, VMSRS_LABEL_BYTES);
      document["label_text"] = channel::label_text({event.label_text, bytes});
    }
    document["fault"] = fault_document(event, symbols, dump_folder);
    document["exposed"] = event.exposed != 0;
  }
  if (event.process_id != 0) document["process"] = event.process_id;
  if (event.type == VMSRS_EVENT_CRASH) document["backtrace"] = backtrace_document(event, symbols);
  if (has_duration(event.type)) document["duration_seconds"] = seconds_of(event.duration_ns);
  if (has_count(event.type)) document["count"] = event.count;
  if (event.type == VMSRS_EVENT_COLLECTED || event.type == VMSRS_EVENT_SUPPRESSION_ENDED)
    document["suppressed_stores"] = event.suppressed_store_count;
  if (event.type == VMSRS_EVENT_SUPPRESSION_ENDED) document["restored"] = restored_document(event);
  if (event.type == VMSRS_EVENT_DENIED) {
    document["detail"] = {
        {"call", channel::hexadecimal(event.call)},
        {"status", channel::status_name(static_cast<vmsrs_status>(event.status))}};
  }
  row.document = ops::json_text(document);
  return row;
}

store::Event guest_event(const vmsrs_guest_end& end, const std::vector<vmsrs_guest_cpu>& cpus,
                         double boot_time) {
  store::Event row;
  row.boot = boot_text(end.boot);
  row.source = store::Source::kGuest;
  row.sequence = end.sequence;
  row.time = boot_time + seconds_of(end.time_ns);
  row.type = "guest_end";
  Json document = empty_document();
  document["seconds"] = seconds_of(end.time_ns);
  document["detail"] = api::guest_end_document(end, cpus);
  row.document = ops::json_text(document);
  return row;
}

store::Event daemon_event(const std::string& type, double time, const Json& detail) {
  store::Event row;
  row.source = store::Source::kDaemon;
  row.time = time;
  row.type = type;
  Json document = empty_document();
  document["detail"] = detail;
  row.document = ops::json_text(document);
  return row;
}

std::vector<store::Event> check_events(const vmsrs_check_report& report, double time,
                                       const std::vector<vmsrs_server_info>& servers) {
  std::vector<store::Event> events;
  for (std::size_t i = 0; i < VMSRS_CHECK_COUNT; ++i) {
    const vmsrs_check_result& result = report.results[i];
    if (result.verdict != VMSRS_VERDICT_VIOLATED) continue;
    store::Event event = daemon_event("check_failed", time,
                                      {{"invariant", channel::kInvariantNames[i]},
                                       {"examined", result.examined_count},
                                       {"violations", result.violation_count},
                                       {"first_detail", channel::hexadecimal(result.detail)}});
    for (const vmsrs_server_info& info : servers)
      if (info.server == result.server) event.server = channel::server_name(info);
    events.push_back(std::move(event));
  }
  return events;
}

Json event_document(const store::StoredEvent& stored) {
  const store::Event& event = stored.event;
  Json document = {{"id", stored.id},
                   {"type", event.type},
                   {"time", event.time},
                   {"source", source_name(event.source)},
                   {"boot", event.boot.empty() ? Json(nullptr) : Json(event.boot)},
                   {"sequence", event.sequence},
                   {"server", event.server ? Json(*event.server) : Json(nullptr)},
                   {"slot", event.slot ? Json(*event.slot) : Json(nullptr)}};
  const Json rest = Json::parse(event.document, nullptr, false);
  if (rest.is_object()) document.update(rest);
  if (Json& fault = document["fault"]; fault.is_object()) {
    Json& dump = fault["dump"];  // events of earlier releases have none
    if (dump.is_object() && !is_file(dump.value("file", ""))) dump = nullptr;
  }
  return document;
}

}  // namespace vmsrs::daemon
