// SPDX-License-Identifier: Apache-2.0
#include <cinttypes>
#include <ctime>
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::string date_words(const Json& unix_time) {
  const auto seconds = static_cast<std::time_t>(unix_time.get<double>());
  std::tm parts{};
  char text[32];
  if (gmtime_r(&seconds, &parts) == nullptr) return "-";
  std::strftime(text, sizeof text, "%F %T UTC", &parts);
  return text;
}

// Where the CPU that came to the end stood.
std::string place_words(const Json& event) {
  for (const Json& cpu : event.at("cpus"))
    if (cpu.at("cpu") == event.at("cpu")) return words(cpu.at("registers").at("rip"));
  return "-";
}

void print_events(const Json& answer) {
  if (const auto lost = answer.at("lost").get<std::uint64_t>(); lost > 0)
    std::printf("(%" PRIu64 " events before these are no longer kept)\n", lost);
  if (answer.at("events").empty()) {
    std::printf("Nothing has happened to the operating system.\n");
    return;
  }
  Table table({"NUMBER", "TIME", "EVENT", "START", "CPU", "AT", "LOG UP TO"});
  for (const Json& event : answer.at("events"))
    table.add({words(event.at("sequence")),
               date_words(event.at("time")),
               {words(event.at("kind")), Colour::kBad},
               words(event.at("start")),
               words(event.at("cpu")),
               place_words(event),
               words(event.at("log_sequence"))});
  table.print();
}

}  // namespace

void add_events(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "events", "List how the operating system has ended, since the hypervisor was started");
  const auto since = std::make_shared<std::uint64_t>(0);
  verb->add_option("--since", *since, "Only events from this number on")->type_name("NUMBER");
  verb->callback([&context, since] {
    context.work = [&context, since] {
      const Json answer = context.client().get("/v1/events?since=" + std::to_string(*since));
      print(context.format(), answer, [&] { print_events(answer); });
      return ops::kExitOk;
    };
  });
}

}  // namespace vmsrs::cli
