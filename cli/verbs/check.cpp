// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

Cell verdict_cell(const Json& verdict) {
  const std::string text = words(verdict);
  if (text == "ok") return {text, Colour::kGood};
  return {text, text == "violated" ? Colour::kBad : Colour::kWarning};
}

void print_checks(const Json& answer, const TableStyle& style) {
  Table table({"INVARIANT", "VERDICT", "EXAMINED", "VIOLATIONS", "FIRST"});
  for (const Json& check : answer.at("checks")) {
    std::string first = "-";
    if (!check.at("reason").is_null()) {
      first = words(check.at("reason"));
    } else if (!check.at("first_detail").is_null()) {
      first = words(check.at("first_server")) + " " + words(check.at("first_detail"));
    }
    table.add({words(check.at("name")), verdict_cell(check.at("verdict")),
               words(check.at("examined")), words(check.at("violations")), first});
  }
  table.print(style);
}

std::string names_with(const Json& answer, const char* verdict) {
  std::string names;
  for (const Json& check : answer.at("checks")) {
    if (check.at("verdict") == verdict) {
      names += (names.empty() ? "" : ", ") + words(check.at("name"));
    }
  }
  return names;
}

// What was asked for of what was proven.
void keep_named(Json& answer, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::vector<std::string> known;
  for (const Json& check : answer.at("checks")) known.push_back(check.at("name"));
  Json kept = Json::array();
  for (const std::string& name : names) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) fail_unknown("invariant", name, known);
    kept.push_back(answer.at("checks").at(static_cast<std::size_t>(found - known.begin())));
  }
  answer["checks"] = std::move(kept);
}

int check(const Context& context, const std::vector<std::string>& names) {
  // Without a limit of the caller's the daemon's own holds, of which this end knows only the bound.
  constexpr std::chrono::minutes kLongestCheck{10};
  Json body = Json::object();
  if (context.timeout_given) body["timeout_ms"] = context.timeout().count();
  const Client client(context.daemon, context.timeout_given ? context.timeout() : kLongestCheck);
  Json answer = with_progress("checking", [&] { return client.post("/v1/check", body); });
  keep_named(answer, names);
  print(context.format(), answer, [&] { print_checks(answer, context.style()); });
  const std::string violated = names_with(answer, "violated");
  const std::string unverified = names_with(answer, "unverified");
  const std::string unprotected = names_with(answer, "unprotected");
  if (!violated.empty()) {
    throw Failure(ops::kExitInvariantViolated,
                  "violated: " + violated +
                      (unverified.empty() ? "" : "; unverified: " + unverified) +
                      ": see docs/invariants.md for what it means and what to do");
  }
  if (!unverified.empty()) {
    throw Failure(ops::kExitFailed, "unverified: " + unverified +
                                        ": no thread of a server has looked in time; try again, "
                                        "or give a longer --timeout");
  }
  if (!unprotected.empty()) {
    throw Failure(
        ops::kExitFailed,
        "unprotected: " + unprotected +
            ": since the server attached, stores went on without recovery data: raise its "
            "storage_quota, then restart it");
  }
  return ops::kExitOk;
}

}  // namespace

void add_check(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("check", "Prove the invariants of the recovery engine");
  const auto names = std::make_shared<std::vector<std::string>>();
  verb->add_option("INVARIANT", *names, "Tell of these only, which decide the exit code alone");
  verb->add_subcommand("run", "The same");
  verb->callback(
      [&context, names] { context.work = [&context, names] { return check(context, *names); }; });
}

}  // namespace vmsrs::cli
