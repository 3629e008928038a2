// SPDX-License-Identifier: Apache-2.0
#include <cinttypes>
#include <map>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

// Seconds since the hypervisor's start, aligned.
std::string time_words(const Json& seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%12.6f", seconds.get<double>());
  return text;
}

std::string share_words(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f %%", 100 * share);
  return text;
}

Cell level_cell(const Json& level) {
  if (level == "error") return {words(level), Colour::kBad};
  if (level == "warning") return {words(level), Colour::kWarning};
  return words(level);
}

void print_log(const Json& answer, const TableStyle& style) {
  if (const auto lost = answer.at("lost").get<std::uint64_t>(); lost > 0)
    std::printf("(%" PRIu64 " lines before these are no longer kept)\n", lost);
  if (answer.at("lines").empty()) {
    std::printf(answer.at("next") == 0 ? "No log is kept here: only a hypervisor has one. That of "
                                         "vmsrs-hosted is in the journal.\n"
                                       : "No line since then.\n");
    return;
  }
  Table table({"NUMBER", "     SECONDS", "CPU", "LEVEL", "TEXT"});
  for (const Json& line : answer.at("lines"))
    table.add({words(line.at("sequence")), time_words(line.at("seconds")), words(line.at("cpu")),
               level_cell(line.at("level")), words(line.at("text"))});
  table.print(style);
}

// Of all processors together: what an exit of each reason costs, and which share of the processors'
// time it took since the start.
void print_exits(const Json& answer, const TableStyle& style) {
  struct Sum {
    std::uint64_t count = 0, cycles = 0;
  };
  std::vector<std::pair<std::string, Sum>> sums;
  Sum all;
  for (const Json& cpu : answer.at("cpus")) {
    std::size_t place = 0;
    for (const auto& [reason, value] : cpu.at("reasons").items()) {
      if (place == sums.size()) sums.emplace_back(reason, Sum{});
      Sum& sum = sums[place++].second;
      sum.count += value.at("count").get<std::uint64_t>();
      sum.cycles += value.at("cycles").get<std::uint64_t>();
    }
  }
  for (const auto& [reason, sum] : sums) {
    all.count += sum.count;
    all.cycles += sum.cycles;
  }
  const Json& ticks = answer.at("cycles_per_second");
  const double available = ticks.is_null()
                               ? 0
                               : ticks.get<double>() * answer.at("uptime_seconds").get<double>() *
                                     static_cast<double>(answer.at("cpus").size());
  Table table({"REASON", "EXITS", "CYCLES", "CYCLES EACH", "OF ALL TIME"});
  const auto add = [&](const std::string& reason, const Sum& sum) {
    table.add({reason, std::to_string(sum.count), std::to_string(sum.cycles),
               sum.count == 0 ? "-" : std::to_string(sum.cycles / sum.count),
               available > 0 ? share_words(static_cast<double>(sum.cycles) / available) : "-"});
  };
  for (const auto& [reason, sum] : sums)
    if (sum.count > 0) add(reason, sum);
  add("all", all);
  table.print(style);
}

void print_memory(const Json& answer, const TableStyle& style) {
  static const std::map<std::string, const char*> kUses = {
      {"image", "the hypervisor's code and data"},
      {"own", "its tables and stacks"},
      {"storage", "recovery storage"},
      {"windows", "windows, which Linux may read"},
      {"iommu", "registers of an IOMMU"}};
  if (answer.at("ranges").empty()) {
    std::printf("Nothing is hidden by its physical address here: there is no hypervisor.\n");
    return;
  }
  Table table({"BEGIN", "END", "SIZE", "USE"});
  for (const Json& range : answer.at("ranges")) {
    const auto use = kUses.find(range.at("use").get<std::string>());
    table.add({words(range.at("begin")), words(range.at("end")), size_words(range.at("bytes")),
               use != kUses.end() ? use->second : words(range.at("use"))});
  }
  table.print(style);
}

}  // namespace

void add_hypervisor(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("hypervisor", "Look at the hypervisor itself");
  noun->require_subcommand(1);
  const auto since = std::make_shared<std::uint64_t>(0);
  CLI::App* log = noun->add_subcommand("log", "Print what it has logged, as far as it is kept");
  log->add_option("--since", *since, "Only lines from this number on")->type_name("NUMBER");
  add_watch_options(*log, context);
  log->callback([&context, since] {
    context.work = [&context, since] {
      const Json answer =
          context.client().get("/v1/hypervisor/log?since=" + std::to_string(*since));
      print(context.format(), answer, [&] { print_log(answer, context.style()); });
      return ops::kExitOk;
    };
  });
  CLI::App* exits =
      noun->add_subcommand("exits", "Why it took over from Linux, how often, and what that cost");
  add_watch_options(*exits, context);
  exits->callback([&context] {
    context.work = [&context] {
      const Json answer = context.client().get("/v1/exits");
      print(context.format(), answer, [&] { print_exits(answer, context.style()); });
      return ops::kExitOk;
    };
  });
  const auto withdraw = std::make_shared<bool>(false);
  CLI::App* announce = noun->add_subcommand(
      "announce-reset", "Tell it that the next reset of the machine is wanted, and no failure");
  announce->add_flag("--withdraw", *withdraw, "Take that back");
  announce->add_flag("--yes")->description("Do not ask: it is asked for several hosts only");
  announce->callback([&context, withdraw] {
    context.work = [&context, withdraw] {
      const Json answer =
          context.client().post("/v1/hypervisor/announce-reset", {{"wanted", !*withdraw}});
      print(context.format(), answer, [&] {
        std::printf("%s\n", answer.at("wanted").get<bool>()
                                ? "The next reset is let through to the machine."
                                : "A reset is a failure again.");
      });
      return ops::kExitOk;
    };
  });
  noun->add_subcommand("memory", "Show the physical memory that is not Linux's alone")
      ->callback([&context] {
        context.work = [&context] {
          const Json answer = context.client().get("/v1/hypervisor/memory");
          print(context.format(), answer, [&] { print_memory(answer, context.style()); });
          return ops::kExitOk;
        };
      });
}

}  // namespace vmsrs::cli
