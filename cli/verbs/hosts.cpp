// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

std::string label_words(const std::map<std::string, std::string>& labels) {
  std::string all;
  for (const auto& [name, value] : labels) all += (all.empty() ? "" : ",") + name + "=" + value;
  return all.empty() ? "-" : all;
}

int list_hosts(const Context& context, TableStyle style) {
  const Fleet fleet = read_fleet_file(context.fleet_file);
  const auto given = [](const std::string& own, const std::string& of_fleet) -> Json {
    const std::string& file = own.empty() ? of_fleet : own;
    return file.empty() ? Json(nullptr) : Json(file);
  };
  const Daemon& daemon = context.daemon;
  const Json certificate = given(daemon.certificate, fleet.certificate);
  const Json key = given(daemon.key, fleet.key);
  const Json ca = given(daemon.ca, fleet.ca);
  Json hosts = Json::array();
  Table table({"NAME", "ADDRESS", "LABELS", {"CERTIFICATE", true}, {"KEY", true}, {"CA", true}});
  for (const FleetHost& host : chosen_hosts(fleet, context.choice)) {
    hosts.push_back({{"name", host.name},
                     {"address", host.address},
                     {"labels", Json(host.labels)},
                     {"certificate", certificate},
                     {"key", key},
                     {"ca", ca}});
    table.add({host.name, host.address, label_words(host.labels), words(certificate), words(key),
               words(ca)});
  }
  print(context.format(), Json{{"hosts", std::move(hosts)}}, [&] { table.print(style); });
  return ops::kExitOk;
}

}  // namespace

void add_hosts(CLI::App& app, Context& context) {
  CLI::App* const noun = app.add_subcommand("hosts", "Look at the fleet file");
  noun->require_subcommand(1);
  CLI::App* const list = noun->add_subcommand(
      "list", "List its hosts, or those that --hosts and --label choose; asks none of them");
  const auto wide = std::make_shared<bool>(false);
  list->add_flag("--wide", *wide, "With the files that prove who asks, as --output wide");
  list->callback([&context, wide] {
    context.across = Across::kItself;
    context.work = [&context, wide] {
      TableStyle style = context.style();
      style.wide = style.wide || *wide;
      return list_hosts(context, style);
    };
  });
}

}  // namespace vmsrs::cli
