// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "confirm.hpp"
#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

void print_servers(const Json& servers, const TableStyle& style) {
  if (servers.empty()) {
    std::printf("No servers are defined. Add them under \"servers\" in vmsrs.yaml.\n");
    return;
  }
  Table table({"NAME",
               {"ID", true},
               "ATTACHED",
               "PROCESS",
               {"PROCESSES", true},
               "MODE",
               "CONTAINMENT",
               "ACTIVE",
               "SUPPRESSED",
               "STUCK",
               "REGIONS",
               "SIZE",
               "KEPT",
               "STORAGE USED",
               "RECORDS",
               {"FINISHED", true},
               {"COLLECTED", true},
               {"CONTENDED", true},
               "UNPROTECTED"});
  for (const Json& server : servers) {
    table.add({words(server.at("name")), words(server.at("id")), words(server.at("attached")),
               words(server.at("process")), words(server.at("processes")),
               mode_cell(server.at("mode")), containment_cell(server.at("containment")),
               words(server.at("active_users")),
               count_cell(server.at("suppressed_users"), Colour::kWarning),
               count_cell(server.at("stuck_users"), Colour::kBad), words(server.at("regions")),
               size_words(server.at("region_bytes")), size_words(server.at("kept_region_bytes")),
               size_words(server.at("storage_used_bytes")), words(server.at("records")),
               words(server.at("users_finished")), words(server.at("users_collected")),
               words(server.at("contended_granules")),
               count_cell(server.at("unprotected_stores"), Colour::kBad)});
  }
  table.print(style);
}

Json find_server(const Context& context, const std::string& name) {
  const Json answer = context.client().get("/v1/servers");
  for (const Json& server : answer.at("servers"))
    if (server.at("name") == name) return server;
  throw Failure(ops::kExitFailed,
                "no server is called \"" + name + "\": vmsrsctl servers list shows all");
}

// Field by field, as in the documents: what is a list or a count by kind, on a line of its own.
void print_server(const Json& server) {
  Table table;
  for (const auto& [name, value] : server.items()) {
    std::string text;
    if (value.is_object()) {
      for (const auto& [kind, count] : value.items())
        if (count != 0) text += (text.empty() ? "" : ", ") + kind + " " + words(count);
    } else if (name.ends_with("_bytes")) {
      text = size_words(value);
    } else {
      text = name.ends_with("_seconds") ? duration_words(value) : words(value);
    }
    table.add({name, text.empty() ? "-" : text});
  }
  table.print();
}

struct Reap {
  std::string server;
  bool yes = false, dry_run = false;
};

int reap_server(const Context& context, const Reap& wanted) {
  const Json server = find_server(context, wanted.server);
  const std::string what = wanted.server + ": " + words(server.at("processes")) +
                           " processes attached, " + words(server.at("regions")) + " regions";
  if (wanted.dry_run) {
    print(context.format(), Json{{"dry_run", true}, {"server", server}},
          [&] { std::printf("Would look for dead processes of %s\n", what.c_str()); });
    return ops::kExitOk;
  }
  if (!wanted.yes)
    confirm([&] { return "Give back what dead processes of " + what + " have left?"; },
            "reap gives up what dead processes held: give --yes where nobody can be asked, or "
            "--dry-run");
  const Json answer =
      context.client().post("/v1/servers/" + wanted.server + "/reap", Json::object());
  print(context.format(), answer, [&] {
    std::printf("%s: %zu dead processes reaped\n", wanted.server.c_str(),
                answer.at("reaped").size());
  });
  return ops::kExitOk;
}

}  // namespace

void add_servers(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("servers", "Look at servers");
  noun->require_subcommand(1);
  CLI::App* list = noun->add_subcommand("list", "List the servers that are defined");
  add_list_options(*list, context);
  list->callback([&context] {
    context.work = [&context] {
      const Json answer = context.client().get("/v1/servers");
      const Json document = {{"servers", sorted(answer.at("servers"), context)}};
      print(context.format(), document,
            [&] { print_servers(document.at("servers"), context.style()); });
      return ops::kExitOk;
    };
  });

  const auto wanted = std::make_shared<Reap>();
  CLI::App* show = noun->add_subcommand("show", "Show all that is known of one server");
  show->add_option("SERVER", wanted->server, "The server's name")->required();
  add_watch_options(*show, context);
  show->callback([&context, wanted] {
    context.work = [&context, wanted] {
      const Json server = find_server(context, wanted->server);
      print(context.format(), server, [&] { print_server(server); });
      return ops::kExitOk;
    };
  });

  CLI::App* reap_verb = noun->add_subcommand(
      "reap", "Give back what dead processes of a server have left, now and not at the next look");
  reap_verb->add_option("SERVER", wanted->server, "The server's name")->required();
  reap_verb->add_flag("--yes", wanted->yes, "Do not ask");
  reap_verb->add_flag("--dry-run", wanted->dry_run, "Change nothing, say what would be done");
  reap_verb->callback([&context, wanted] {
    context.work = [&context, wanted] { return reap_server(context, *wanted); };
  });
}

}  // namespace vmsrs::cli
