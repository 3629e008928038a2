// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "confirm.hpp"
#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct Choice {
  std::string server;
  std::int64_t slot = -1;
  bool yes = false;
  bool dry_run = false;
};

// What a collection would work on: users under suppression that were chosen.
Json candidates(const Client& client, const Choice& choice) {
  const Json answer = client.get("/v1/users?state=crashed,stuck");
  Json chosen = Json::array();
  for (const Json& user : answer.at("users")) {
    if (!choice.server.empty() && user.at("server") != choice.server) continue;
    if (choice.slot >= 0 && user.at("slot") != choice.slot) continue;
    chosen.push_back(user);
  }
  return chosen;
}

int dry_run(const Context& context, const Choice& choice) {
  const Json users = candidates(context.client(), choice);
  const Json document = {{"dry_run", true}, {"users", users}};
  print(context.format(), document, [&] {
    if (users.empty()) std::printf("Nothing to collect: no such user is under suppression.\n");
    for (const Json& user : users) {
      std::printf("Would restore what slot %s (%s) of server %s has written\n",
                  words(user.at("slot")).c_str(), words(user.at("state")).c_str(),
                  words(user.at("server")).c_str());
    }
  });
  return ops::kExitOk;
}

int collect(const Context& context, const Choice& choice) {
  if (choice.slot >= 0 && choice.server.empty()) {
    throw Failure(ops::kExitUsage,
                  "--user needs --server: a slot has a meaning in one server only");
  }
  if (choice.dry_run) return dry_run(context, choice);
  const auto question = [&] {
    const std::size_t count = candidates(context.client(), choice).size();
    return "Restore now what " + std::to_string(count) + " users under suppression have written?";
  };
  if (!choice.yes) {
    confirm(question,
            "gc changes memory of servers: give --yes where nobody can be asked, or --dry-run to "
            "see what it would do");
  }
  const Client client = context.client();
  Json body = {{"timeout_ms", client.timeout().count()}};
  if (!choice.server.empty()) body["server"] = choice.server;
  if (choice.slot >= 0) body["user"] = choice.slot;
  const Json answer = with_progress("collecting", [&] { return client.post("/v1/gc", body); });
  print(context.format(), answer, [&] {
    if (answer.at("collections").empty()) std::printf("Nothing to collect.\n");
    for (const Json& one : answer.at("collections")) {
      std::printf("%s: %s granules restored", words(one.at("server")).c_str(),
                  words(one.at("restored")).c_str());
      if (!one.at("complete").get<bool>())
        std::printf(", not finished: %s records left", words(one.at("records_left")).c_str());
      std::printf("\n");
    }
  });
  if (answer.at("complete").get<bool>()) return ops::kExitOk;
  throw Failure(ops::kExitFailed,
                "collection did not end in time: a thread of the server carries it out, and none "
                "has come by; look at the server, or give a longer --timeout");
}

}  // namespace

void add_gc(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "gc",
      "Restore now what users under suppression have written; they stay suppressed until "
      "the end of their scope");
  const auto choice = std::make_shared<Choice>();
  verb->add_option("--server", choice->server, "Only in this server");
  verb->add_option("--user", choice->slot, "Only the user in this slot")
      ->check(CLI::Range(0, 1023));
  verb->add_flag("--yes", choice->yes, "Do not ask");
  verb->add_flag("--dry-run", choice->dry_run, "Change nothing, say what would be done");
  verb->add_subcommand("run", "The same");
  verb->callback([&context, choice] {
    context.work = [&context, choice] { return collect(context, *choice); };
  });
}

}  // namespace vmsrs::cli
