// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdio>
#include <ctime>
#include <memory>
#include <ops_common/exit_codes.hpp>
#include <optional>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct EventChoice {
  std::string since, until, type, server;
  std::int64_t user = -1;
  std::uint64_t limit = 100;
  std::optional<std::uint64_t> before, after;
};

std::string date_words(const Json& unix_time) {
  const auto seconds = static_cast<std::time_t>(unix_time.get<double>());
  std::tm parts{};
  char text[32];
  if (gmtime_r(&seconds, &parts) == nullptr) return "-";
  std::strftime(text, sizeof text, "%F %T UTC", &parts);
  return text;
}

// Unix seconds, a date such as 2026-11-23T10:00:00Z, or an age: 90s, 10min, 2h, 3d.
double time_of(const std::string& words, const char* option) {
  const auto fail = [&]() -> double {
    throw Failure(ops::kExitUsage, std::string(option) +
                                       ": give a date such as 2026-11-23T10:00:00Z, an age such as "
                                       "90s, 10min, 2h or 3d, or Unix seconds, not \"" +
                                       words + "\"");
  };
  std::tm parts{};
  const char* const end = ::strptime(words.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end != nullptr && *end == '\0') return static_cast<double>(::timegm(&parts));
  if (words.find_first_not_of("0123456789.") == std::string::npos && !words.empty()) {
    double seconds = 0;
    const char* const last = words.data() + words.size();
    const auto [stop, error] = std::from_chars(words.data(), last, seconds);
    return error == std::errc() && stop == last ? seconds : fail();
  }
  if (!duration_problem(words).empty()) return fail();
  return static_cast<double>(std::time(nullptr)) - seconds_in(words);
}

std::string escaped(const std::string& text) {
  std::string all;
  for (const char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
        c == '_' || c == '.' || c == ',') {
      all += c;
    } else {
      char code[4];
      std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(c) & 0xffu);
      all += code;
    }
  }
  return all;
}

std::string query_of(const EventChoice& choice, bool paged) {
  std::string query;
  const auto add = [&](const std::string& name, const std::string& value) {
    query += (query.empty() ? "?" : "&") + name + "=" + escaped(value);
  };
  char text[64];
  const auto add_time = [&](const char* name, const std::string& words, const char* option) {
    if (words.empty()) return;
    std::snprintf(text, sizeof text, "%.3f", time_of(words, option));
    add(name, text);
  };
  add_time("since", choice.since, "--since");
  add_time("until", choice.until, "--until");
  if (!choice.type.empty()) add("type", choice.type);
  if (!choice.server.empty()) add("server", choice.server);
  if (choice.user >= 0) add("user", std::to_string(choice.user));
  if (paged) {
    add("limit", std::to_string(choice.limit));
    if (choice.before) add("before", std::to_string(*choice.before));
    if (choice.after) add("after", std::to_string(*choice.after));
  }
  return query;
}

// symbol+0x12, or module+0x345, or the address alone.
std::string place_words(const Json& place, const Json& address) {
  if (!place.at("symbol").is_null())
    return words(place.at("symbol")) + "+" + words(place.at("symbol_offset"));
  if (!place.at("module").is_null())
    return words(place.at("module")) + "+" + words(place.at("offset"));
  return words(address);
}

std::string fault_words(const Json& fault) {
  return words(fault.at("kind")) + " at " + words(fault.at("address")) + " in " +
         place_words(fault, fault.at("instruction"));
}

std::string restored_words(const Json& restored) {
  std::uint64_t total = 0;
  for (const auto& [cause, count] : restored.items()) total += count.get<std::uint64_t>();
  return std::to_string(total) + " granules restored";
}

// The CPU that came to the end, and where it stood.
std::string guest_words(const Json& detail) {
  std::string text = words(detail.at("kind")) + " of start " + words(detail.at("start")) +
                     " on CPU " + words(detail.at("cpu"));
  for (const Json& cpu : detail.at("cpus"))
    if (cpu.at("cpu") == detail.at("cpu")) text += " at " + words(cpu.at("registers").at("rip"));
  return text;
}

// What an event is about, in a few words.
std::string what_words(const Json& event) {
  const auto type = event.at("type").get<std::string>();
  const Json& detail = event.at("detail");
  if (type == "crash" || type == "stuck")
    return event.at("fault").is_null() ? "-" : fault_words(event.at("fault"));
  if (type == "collected")
    return words(event.at("count")) + " granules restored, " +
           words(event.at("suppressed_stores")) + " stores dropped, after " +
           duration_words(event.at("duration_seconds"));
  if (type == "suppression_ended")
    return restored_words(event.at("restored")) + ", after " +
           duration_words(event.at("duration_seconds"));
  if (type == "guest_end") return guest_words(detail);
  if (type == "check_failed")
    return words(detail.at("invariant")) + ": " + words(detail.at("violations")) + " violations";
  if (type == "store_damaged") return words(detail.at("moved_to"));
  if (type == "clock_jumped") return words(detail.at("seconds")) + " s";
  if (type == "denied_calls")
    return words(event.at("count")) + ", the last " + words(detail.at("call"));
  if (type == "events_lost" && !detail.is_null())
    return words(detail.at("count")) + " of the " + words(detail.at("source"));
  const bool of_process = type == "attached" || type == "detached" || type == "reaped";
  if (!of_process && !event.at("count").is_null()) return words(event.at("count"));
  return event.at("process").is_null() ? "-" : "process " + words(event.at("process"));
}

std::string user_words(const Json& event) {
  if (event.at("slot").is_null()) return "-";
  return words(event.at("slot")) + " (" +
         words(event.at("label_text").is_null() ? event.at("label") : event.at("label_text")) + ")";
}

Colour colour_of(const std::string& type) {
  if (type == "crash" || type == "stuck" || type == "guest_end" || type == "check_failed" ||
      type == "events_lost" || type == "store_damaged")
    return Colour::kBad;
  return type == "denied_calls" || type == "storage_full" || type == "unprotected_stores"
             ? Colour::kWarning
             : Colour::kNone;
}

std::vector<Cell> row_of(const Json& event) {
  const std::string type = words(event.at("type"));
  return {words(event.at("id")),   date_words(event.at("time")),
          {type, colour_of(type)}, words(event.at("server")),
          user_words(event),       what_words(event)};
}

const std::vector<Column> kHeader = {"ID", "TIME", "TYPE", "SERVER", "USER", "WHAT"};

void print_events(const Json& answer, const TableStyle& style) {
  if (answer.at("events").empty()) {
    std::printf("No events.\n");
    return;
  }
  Table table(kHeader);
  for (const Json& event : answer.at("events")) table.add(row_of(event));
  table.print(style);
  if (!answer.at("before").is_null())
    std::printf("(earlier ones: --before %s)\n", words(answer.at("before")).c_str());
  if (answer.at("more_after").get<bool>())
    std::printf("(later ones: --after %s)\n", words(answer.at("after")).c_str());
}

void print_place(const char* name, const Json& place, const Json& address) {
  std::printf("  %-18s %s", name, words(address).c_str());
  if (!place.at("module").is_null())
    std::printf("  %s+%s", words(place.at("module")).c_str(), words(place.at("offset")).c_str());
  if (!place.at("symbol").is_null())
    std::printf("  %s+%s", words(place.at("symbol")).c_str(),
                words(place.at("symbol_offset")).c_str());
  std::printf("\n");
}

void print_registers(const Json& cpus) {
  for (const Json& cpu : cpus) {
    std::printf("CPU %s, %s, privilege level %s\n", words(cpu.at("cpu")).c_str(),
                words(cpu.at("state")).c_str(), words(cpu.at("privilege_level")).c_str());
    int column = 0;
    for (const auto& [name, value] : cpu.at("registers").items())
      std::printf("  %-6s %-18s%s", name.c_str(), words(value).c_str(),
                  ++column % 4 == 0 ? "\n" : "");
    std::printf("%s", column % 4 == 0 ? "" : "\n");
  }
}

// As a shell takes it for one word.
std::string quoted(const Json& path) {
  const std::string plain = words(path);
  if (plain.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-") ==
      std::string::npos)
    return plain;
  std::string all = "'";
  for (const char c : plain) all += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return all + "'";
}

void print_event(const Json& event) {
  for (const auto& [name, value] : event.items()) {
    if (value.is_null() || name == "backtrace" || name == "fault") continue;
    if (name == "time") {
      std::printf("%-20s %s\n", name.c_str(), date_words(value).c_str());
    } else if (value.is_object()) {
      std::printf("%s\n", name.c_str());
      for (const auto& [inner, one] : value.items())
        if (!one.is_structured()) std::printf("  %-18s %s\n", inner.c_str(), words(one).c_str());
    } else {
      std::printf("%-20s %s\n", name.c_str(), words(value).c_str());
    }
  }
  if (const Json& fault = event.at("fault"); !fault.is_null()) {
    std::printf("fault\n");
    for (const char* name : {"kind", "thread", "address", "count"})
      std::printf("  %-18s %s\n", name, words(fault.at(name)).c_str());
    print_place("instruction", fault, fault.at("instruction"));
    if (const Json& dump = fault.at("dump"); !dump.is_null())
      std::printf("  %-18s gdb %s %s\n", "dump", quoted(dump.at("program")).c_str(),
                  quoted(dump.at("file")).c_str());
  }
  if (const Json& trace = event.at("backtrace"); trace.is_array() && !trace.empty()) {
    std::printf("backtrace\n");
    int frame = 0;
    for (const Json& place : trace)
      print_place(std::to_string(++frame).c_str(), place, place.at("address"));
  }
  if (const Json& detail = event.at("detail"); detail.is_object() && detail.contains("cpus"))
    print_registers(detail.at("cpus"));
}

// A row of a table whose other rows are not known yet.
void print_row(const std::vector<Cell>& row) {
  constexpr int kWidths[] = {6, 23, 18, 12, 16, 0};
  for (std::size_t i = 0; i < row.size(); ++i)
    std::printf("%-*s%s", kWidths[i], row[i].text.c_str(), i + 1 < row.size() ? "  " : "\n");
}

void print_followed(Format format, const Json& event) {
  if (format == Format::kTable) {
    print_row(row_of(event));
  } else if (format == Format::kJson) {
    std::printf("%s\n", event.dump().c_str());
  } else {
    std::printf("---\n");
    print(format, event, [] {});
  }
  std::fflush(stdout);
}

void add_filters(CLI::App* verb, const std::shared_ptr<EventChoice>& choice) {
  verb->add_option("--since", choice->since,
                   "From this time on: a date (2026-11-23T10:00:00Z), an age (10min) or Unix "
                   "seconds")
      ->type_name("TIME");
  verb->add_option("--type", choice->type, "Only these types, separated by commas")
      ->type_name("TYPES");
  verb->add_option("--server", choice->server, "Only of this server")->type_name("NAME");
  verb->add_option("--user", choice->user, "Only of users in this slot")
      ->check(CLI::Range(0, 1023));
}

void add_list(CLI::App* noun, Context& context) {
  CLI::App* verb = noun->add_subcommand("list", "List what has happened, the last events");
  const auto choice = std::make_shared<EventChoice>();
  add_filters(verb, choice);
  verb->add_option("--columns", context.columns, "Only these columns, in this order")
      ->delimiter(',')
      ->type_name("NAME,...");
  verb->add_option("--until", choice->until, "Before this time")->type_name("TIME");
  verb->add_option("--limit", choice->limit, "At most so many, default 100")
      ->check(CLI::Range(1, 1000))
      ->type_name("NUMBER");
  auto* before = verb->add_option("--before", choice->before, "The last ones before this event")
                     ->type_name("ID");
  verb->add_option("--after", choice->after, "The first ones after this event")
      ->type_name("ID")
      ->excludes(before);
  verb->callback([&context, choice] {
    context.work = [&context, choice] {
      const Json answer = context.client().get("/v1/events" + query_of(*choice, true));
      print(context.format(), answer, [&] { print_events(answer, context.style()); });
      return ops::kExitOk;
    };
  });
}

void add_show(CLI::App* noun, Context& context) {
  CLI::App* verb = noun->add_subcommand("show", "Show all of an event");
  const auto id = std::make_shared<std::uint64_t>(0);
  verb->add_option("ID", *id, "Its id, as listed")->required();
  verb->callback([&context, id] {
    context.work = [&context, id] {
      const Json event = context.client().get("/v1/events/" + std::to_string(*id));
      print(context.format(), event, [&] { print_event(event); });
      return ops::kExitOk;
    };
  });
}

void add_follow(CLI::App* noun, Context& context) {
  CLI::App* verb = noun->add_subcommand("follow", "Show events as they come, until it is stopped");
  const auto choice = std::make_shared<EventChoice>();
  add_filters(verb, choice);
  verb->callback([&context, choice] {
    context.across = Across::kFollows;
    context.work = [&context, choice] {
      if (context.format() == Format::kTable) {
        std::vector<Cell> header;
        for (const Column& column : kHeader) header.emplace_back(column.header);
        print_row(header);
        std::fflush(stdout);
      }
      context.client().follow("/v1/events/stream" + query_of(*choice, false),
                              [&](const Json& event) { print_followed(context.format(), event); });
      return ops::kExitOk;
    };
  });
}

}  // namespace

void add_events(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand(
      "events", "Look at what has happened: crashes, suppressions, ends of the operating system");
  noun->require_subcommand(1);
  add_list(noun, context);
  add_follow(noun, context);
  add_show(noun, context);
}

}  // namespace vmsrs::cli
