// SPDX-License-Identifier: Apache-2.0
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

// A list on one line.
std::string value_words(const Json& value) {
  if (!value.is_array()) return value == "" ? "\"\"" : words(value);
  std::vector<std::string> lines;
  for (const Json& line : value) lines.push_back(words(line));
  return lines.empty() ? "none" : joined(lines, "; ");
}

int show_config(const Context& context) {
  const Json document = context.client().get("/v1/config");
  print(context.format(), document, [&] {
    Table table({"KEY", "VALUE", "FROM", {"DEFAULT", true}, {"CHANGES AT", true}});
    for (const Json& key : document.at("keys")) {
      const bool waits = key.at("restart_needed").get<bool>();
      table.add({words(key.at("key")), value_words(key.at("value")),
                 Cell(words(key.at("source")) + (waits ? ", changed since: restart vmsrsd" : ""),
                      waits ? Colour::kWarning : Colour::kNone),
                 value_words(key.at("default")), words(key.at("changes_at"))});
    }
    table.print(context.style());
  });
  return ops::kExitOk;
}

int check_config(const Context& context) {
  const Json document = context.client().get("/v1/config/check");
  const bool good = document.at("good").get<bool>();
  print(context.format(), document, [&] {
    if (!good) return;
    const Json& changes = document.at("changes");
    std::printf("%s: good%s\n", words(document.at("file")).c_str(),
                changes.empty() ? ", and what vmsrsd runs with" : "; other than vmsrsd runs with:");
    if (changes.empty()) return;
    Table table({"KEY", "NOW", "IN THE FILE", "TAKES A"});
    for (const Json& change : changes)
      table.add({words(change.at("key")), value_words(change.at("running")),
                 value_words(change.at("file")), words(change.at("takes"))});
    table.print(context.style());
  });
  if (good) return ops::kExitOk;
  throw Failure(ops::kExitUsage,
                words(document.at("problem")) + "; vmsrsd goes on with what it has read before");
}

}  // namespace

void add_config(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("config", "Look at the configuration of vmsrsd");
  noun->require_subcommand(1);
  CLI::App* show =
      noun->add_subcommand("show", "Show what vmsrsd runs with, and where each value is from");
  show->callback([&context] { context.work = [&context] { return show_config(context); }; });
  CLI::App* check = noun->add_subcommand(
      "check", "Read the file of vmsrsd anew, and tell what a reload or a restart would change");
  check->callback([&context] { context.work = [&context] { return check_config(context); }; });
}

}  // namespace vmsrs::cli
