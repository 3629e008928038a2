// SPDX-License-Identifier: Apache-2.0
#include "host_options.hpp"

#include <algorithm>
#include <ops_common/exit_codes.hpp>

#include "confirm.hpp"
#include "several_hosts.hpp"

namespace vmsrs::cli {
namespace {

// The words of the verb that was chosen, and of its options those that `name` it has.
struct Chosen {
  std::string verb;
  std::vector<const CLI::App*> path;

  [[nodiscard]] bool has(const std::string& option) const {
    return std::any_of(path.begin(), path.end(), [&](const CLI::App* verb_) {
      return verb_->get_option_no_throw(option) != nullptr;
    });
  }
  [[nodiscard]] bool given(const std::string& option) const {
    return std::any_of(path.begin(), path.end(), [&](const CLI::App* verb_) {
      const CLI::Option* const found = verb_->get_option_no_throw(option);
      return found != nullptr && found->count() > 0;
    });
  }
};

Chosen chosen_verb(const CLI::App& app) {
  Chosen chosen;
  for (auto below = app.get_subcommands(); !below.empty();
       below = below.front()->get_subcommands()) {
    chosen.path.push_back(below.front());
    chosen.verb += (chosen.verb.empty() ? "" : " ") + below.front()->get_name();
  }
  return chosen;
}

// Every verb that changes something has --yes.
void ask_once(const Chosen& chosen, const Context& context, const std::vector<FleetHost>& hosts) {
  if (context.looks_only || !chosen.has("--yes") || chosen.given("--yes") ||
      chosen.given("--dry-run"))
    return;
  constexpr std::size_t kMostNames = 50;
  std::vector<std::string> names;
  for (const FleetHost& host : hosts) names.push_back(host.name);
  const std::string where = "\"" + chosen.verb + "\" on " + std::to_string(hosts.size()) +
                            " hosts: " + names_words(names, kMostNames);
  confirm([&] { return "Run " + where + "?"; },
          where + ": give --yes where nobody can be asked" +
              (chosen.has("--dry-run") ? ", or --dry-run" : ""));
}

void take_defaults(Daemon& daemon, const Fleet& fleet) {
  if (daemon.certificate.empty()) daemon.certificate = fleet.certificate;
  if (daemon.key.empty()) daemon.key = fleet.key;
  if (daemon.ca.empty()) daemon.ca = fleet.ca;
}

void turn_to_one(Context& context) {
  Daemon& daemon = context.daemon;
  if (daemon.host.empty() || parse_address(daemon.host)) return;
  const Fleet fleet = read_fleet_file(context.fleet_file);
  take_defaults(daemon, fleet);
  HostChoice choice;
  choice.name = daemon.host;
  daemon.host = chosen_hosts(fleet, choice).front().address;
}

}  // namespace

void add_host_options(CLI::App& app, Context& context) {
  HostChoice& choice = context.choice;
  CLI::Option* const all = app.add_flag("--all", choice.all, "On all hosts of the fleet file");
  app.add_option("--hosts", choice.glob, "On all whose name is as this pattern: shop*, shop[1-3]")
      ->type_name("PATTERN")
      ->excludes(all);
  app.add_option("--label", choice.labels,
                 "On all with this label; of several each must hold, and --hosts too")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all()
      ->excludes(all);
  app.add_option("--fleet", context.fleet_file, "The fleet file, default " + context.fleet_file)
      ->envname("VMSRS_FLEET")
      ->type_name("FILE");
  app.add_option("--parallel", context.parallel, "Of several hosts so many at a time, default 16")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("NUMBER");
}

void turn_to_hosts(const CLI::App& app, Context& context) {
  if (context.across == Across::kItself) return;
  if (!context.choice.several()) return turn_to_one(context);
  const Fleet fleet = read_fleet_file(context.fleet_file);
  take_defaults(context.daemon, fleet);
  const Chosen chosen = chosen_verb(app);
  if (context.across == Across::kOneOnly)
    throw Failure(ops::kExitUsage, "\"" + chosen.verb + "\" is of one host: name it with --host");
  std::vector<FleetHost> hosts = chosen_hosts(fleet, context.choice);
  ask_once(chosen, context, hosts);
  if (context.across == Across::kFrames) context.watch_seconds = 0.001;
  context.work = [&context, hosts = std::move(hosts), work = std::move(context.work)] {
    return context.across == Across::kFollows ? follow_on_hosts(context, work, hosts)
                                              : run_on_hosts(context, work, hosts);
  };
}

}  // namespace vmsrs::cli
