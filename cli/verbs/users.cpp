// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::string first_fault_words(const Json& fault) {
  if (fault.is_null()) return "-";
  return words(fault.at("kind")) + " at " + words(fault.at("address"));
}

void print_users(const Json& users) {
  if (users.empty()) {
    std::printf("No users.\n");
    return;
  }
  Table table({"SERVER", "SLOT", "LABEL", "TEXT", "STATE", "FAULTS", "FIRST FAULT", "AGE",
               "SUPPRESSED FOR", "DROPPED STORES", "RESTORED", "RECORDS", "EXPOSED"});
  for (const Json& user : users) {
    const bool crashed = user.at("state") != "active";
    table.add({words(user.at("server")), words(user.at("slot")), words(user.at("label")),
               words(user.at("label_text")), state_cell(user.at("state")), words(user.at("faults")),
               first_fault_words(user.at("first_fault")), duration_words(user.at("age_seconds")),
               crashed ? duration_words(user.at("suppressed_seconds")) : "-",
               words(user.at("suppressed_stores")), words(user.at("restores")),
               words(user.at("records")), user.at("exposed").get<bool>() ? "yes" : "-"});
  }
  table.print();
}

}  // namespace

void add_users(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("users", "Look at users");
  noun->require_subcommand(1);
  CLI::App* list = noun->add_subcommand(
      "list", "List users: unfinished ones, and crashed ones that were collected lately");
  const auto crashed = std::make_shared<bool>(false);
  list->add_flag("--crashed", *crashed,
                 "Only those under suppression and those collected after a crash");
  list->callback([&context, crashed] {
    context.work = [&context, crashed] {
      const Json answer =
          context.client().get(*crashed ? "/v1/users?state=crashed,stuck,collected" : "/v1/users");
      print(context.format(), answer, [&] { print_users(answer.at("users")); });
      return ops::kExitOk;
    };
  });
}

}  // namespace vmsrs::cli
