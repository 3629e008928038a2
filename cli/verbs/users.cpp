// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "confirm.hpp"
#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::string first_fault_words(const Json& fault) {
  if (fault.is_null()) return "-";
  return words(fault.at("kind")) + " at " + words(fault.at("address"));
}

void print_users(const Json& users, const TableStyle& style) {
  if (users.empty()) {
    std::printf("No users.\n");
    return;
  }
  Table table({"SERVER",
               "SLOT",
               "LABEL",
               "TEXT",
               "STATE",
               "FAULTS",
               "FIRST FAULT",
               "AGE",
               "SUPPRESSED FOR",
               {"GENERATION", true},
               {"THREAD", true},
               {"INSTRUCTION", true},
               "DROPPED STORES",
               "RESTORED",
               "RECORDS",
               "EXPOSED"});
  for (const Json& user : users) {
    const bool crashed = user.at("state") != "active";
    const Json& fault = user.at("first_fault");
    table.add({words(user.at("server")), words(user.at("slot")), words(user.at("label")),
               words(user.at("label_text")), state_cell(user.at("state")), words(user.at("faults")),
               first_fault_words(fault), duration_words(user.at("age_seconds")),
               crashed ? duration_words(user.at("suppressed_seconds")) : "-",
               words(user.at("generation")), fault.is_null() ? "-" : words(fault.at("thread")),
               fault.is_null() ? "-" : words(fault.at("instruction")),
               words(user.at("suppressed_stores")), words(user.at("restores")),
               words(user.at("records")), user.at("exposed").get<bool>() ? "yes" : "-"});
  }
  table.print(style);
}

void print_user(const Json& user) {
  Table table;
  table.add({"Server", words(user.at("server"))});
  table.add({"Slot", words(user.at("slot")) + ", generation " + words(user.at("generation"))});
  table.add({"State", state_cell(user.at("state"))});
  table.add(
      {"Label",
       words(user.at("label")) +
           (user.at("label_text").is_null() ? "" : ", \"" + words(user.at("label_text")) + "\"")});
  table.add({"Begun", duration_words(user.at("age_seconds")) + " ago"});
  if (const Json& fault = user.at("first_fault"); !fault.is_null()) {
    table.add({"First fault", words(fault.at("kind")) + " at " + words(fault.at("address")) +
                                  ", instruction " + words(fault.at("instruction")) + ", thread " +
                                  words(fault.at("thread"))});
    table.add({"Faults", words(user.at("faults"))});
    table.add({"Crashed", duration_words(user.at("crashed_seconds_ago")) + " ago"});
    table.add({"Suppressed for", duration_words(user.at("suppressed_seconds"))});
    table.add({"Dropped stores", words(user.at("suppressed_stores"))});
    table.add({"Restored granules", words(user.at("restores"))});
  }
  table.add({"Records", words(user.at("records"))});
  table.add({"Exposed", user.at("exposed").get<bool>()
                            ? "yes: it was seen to read from a user that crashed later"
                            : "not that we know"});
  table.print();
}

// Which users are listed.
struct UserFilter {
  bool crashed = false, stuck = false;
  std::string server;
  std::string since;  // "90", "90s", "10min", "2h", "1d"
};

std::string states_of(const UserFilter& choice) {
  if (choice.stuck) return "stuck";
  return choice.crashed || !choice.since.empty() ? "crashed,stuck,collected" : "";
}

Json chosen_of(const Json& users, const UserFilter& choice) {
  Json list = Json::array();
  for (const Json& user : users) {
    if (!choice.server.empty() && user.at("server") != choice.server) continue;
    const Json& ago = user.at("crashed_seconds_ago");
    if (!choice.since.empty() && (ago.is_null() || ago.get<double>() > seconds_in(choice.since)))
      continue;
    list.push_back(user);
  }
  return list;
}

int list_users(const Context& context, const UserFilter& choice) {
  const std::string states = states_of(choice);
  const Json answer =
      context.client().get("/v1/users" + (states.empty() ? "" : "?state=" + states));
  const Json document = {{"users", sorted(chosen_of(answer.at("users"), choice), context)}};
  print(context.format(), document, [&] { print_users(document.at("users"), context.style()); });
  return ops::kExitOk;
}

struct UserChoice {
  std::string server;
  std::uint32_t slot = 0;
  bool yes = false, dry_run = false;
};

Json find_user(const Context& context, const UserChoice& wanted) {
  const Json answer = context.client().get("/v1/users");
  // A slot's former users, remembered as collected, may stand beside the one that has it now.
  const Json* found = nullptr;
  for (const Json& user : answer.at("users")) {
    if (user.at("server") != wanted.server || user.at("slot") != wanted.slot) continue;
    if (found == nullptr || user.at("generation") > found->at("generation")) found = &user;
  }
  if (found == nullptr)
    throw Failure(ops::kExitFailed, "server \"" + wanted.server + "\" has no user in slot " +
                                        std::to_string(wanted.slot) +
                                        ": vmsrsctl users list shows all");
  return *found;
}

int show_user(const Context& context, const UserChoice& wanted) {
  const Json user = find_user(context, wanted);
  print(context.format(), user, [&] { print_user(user); });
  return ops::kExitOk;
}

int suppress_user(const Context& context, const UserChoice& wanted) {
  const Json user = find_user(context, wanted);
  if (user.at("state") != "active")
    throw Failure(ops::kExitFailed, "the user in slot " + std::to_string(wanted.slot) + " is " +
                                        words(user.at("state")) + " already");
  const std::string name = "server " + wanted.server + ", slot " + std::to_string(wanted.slot);
  if (wanted.dry_run) {
    print(context.format(), Json{{"dry_run", true}, {"user", user}},
          [&] { std::printf("Would suppress %s\n", name.c_str()); });
    return ops::kExitOk;
  }
  if (!wanted.yes)
    confirm([&] { return "Treat " + name + " as crashed? What it does from now on is dropped."; },
            "suppress drops what a user does: give --yes where nobody can be asked, or --dry-run");
  const Json answer = context.client().post(
      "/v1/users/" + wanted.server + "/" + std::to_string(wanted.slot) + "/suppress",
      {{"generation", user.at("generation")}});
  print(context.format(), answer, [&] {
    std::printf("%s is under suppression until the end of its scope.\n", name.c_str());
  });
  return ops::kExitOk;
}

CLI::App* add_of_one(CLI::App& noun, const char* name, const char* what,
                     const std::shared_ptr<UserChoice>& user) {
  CLI::App* const verb = noun.add_subcommand(name, what);
  verb->add_option("SERVER", user->server, "The server's name")->required();
  verb->add_option("SLOT", user->slot, "The user's slot")
      ->required()
      ->check(CLI::Range(0, 1023).description(""));
  return verb;
}

}  // namespace

void add_users(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("users", "Look at users, and put them under suppression");
  noun->require_subcommand(1);
  CLI::App* list_verb = noun->add_subcommand(
      "list", "List users: unfinished ones, and crashed ones that were collected lately");
  const auto choice = std::make_shared<UserFilter>();
  list_verb->add_flag("--crashed", choice->crashed,
                      "Only those under suppression and those collected after a crash");
  list_verb->add_flag("--stuck", choice->stuck, "Only those whose thread does not come to its end");
  list_verb->add_option("--server", choice->server, "Only of this server");
  list_verb
      ->add_option("--since", choice->since,
                   "Only those that have crashed in the last TIME: 90s, 10min, 2h, 1d")
      ->check([](const std::string& text) { return duration_problem(text); }, "")
      ->type_name("TIME");
  add_list_options(*list_verb, context);
  list_verb->callback([&context, choice] {
    context.work = [&context, choice] { return list_users(context, *choice); };
  });

  const auto user = std::make_shared<UserChoice>();
  CLI::App* show_verb = add_of_one(*noun, "show", "Show all that is known of one user", user);
  add_watch_options(*show_verb, context);
  show_verb->callback(
      [&context, user] { context.work = [&context, user] { return show_user(context, *user); }; });
  CLI::App* suppress_verb = add_of_one(
      *noun, "suppress", "Treat a user as crashed: what it does from now on is dropped", user);
  suppress_verb->add_flag("--yes", user->yes, "Do not ask");
  suppress_verb->add_flag("--dry-run", user->dry_run, "Change nothing, say what would be done");
  suppress_verb->callback([&context, user] {
    context.work = [&context, user] { return suppress_user(context, *user); };
  });
}

}  // namespace vmsrs::cli
