// SPDX-License-Identifier: Apache-2.0
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

void print_servers(const Json& servers) {
  if (servers.empty()) {
    std::printf("No servers are defined. Add them under \"servers\" in vmsrs.yaml.\n");
    return;
  }
  Table table({"NAME", "ID", "ATTACHED", "PROCESS", "PROCESSES", "MODE", "CONTAINMENT", "ACTIVE",
               "SUPPRESSED", "STUCK", "REGIONS", "SIZE", "KEPT", "STORAGE USED", "RECORDS",
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
               count_cell(server.at("unprotected_stores"), Colour::kBad)});
  }
  table.print();
}

}  // namespace

void add_servers(CLI::App& app, Context& context) {
  CLI::App* noun = app.add_subcommand("servers", "Look at servers");
  noun->require_subcommand(1);
  CLI::App* list = noun->add_subcommand("list", "List the servers that are defined");
  list->callback([&context] {
    context.work = [&context] {
      const Json answer = context.client().get("/v1/servers");
      print(context.format(), answer, [&] { print_servers(answer.at("servers")); });
      return ops::kExitOk;
    };
  });
}

}  // namespace vmsrs::cli
