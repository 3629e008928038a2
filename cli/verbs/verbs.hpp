// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "fleet_file.hpp"
#include "output.hpp"

// The verbs of vmsrsctl, one a file. Each adds itself to the command tree and, when it was chosen,
// puts its work into `Context::work`, which returns the exit code.
namespace vmsrs::cli {

// What becomes of a verb when several hosts are chosen.
enum class Across {
  kEach,     // its work is done on each of them
  kFrames,   // the same, again and again: it watches by itself
  kFollows,  // it is on all of them at the same time, and prints line after line
  kOneOnly,  // refused
  kItself,   // it needs no daemon, or sees to the choice itself
};

struct Context {
  Daemon daemon;
  HostChoice choice;
  std::string fleet_file = "/etc/vmsrs/fleet.yaml";
  std::uint32_t parallel = 16;  // hosts at a time
  Across across = Across::kEach;
  bool looks_only = false;  // though the verb has --yes
  bool several = false;     // the work now is of one of several hosts
  double timeout_seconds = 30;
  bool timeout_given = false;
  std::string output = "table";
  bool no_headers = false;
  std::vector<std::string> columns;
  std::string sort;               // a field of the list's documents, '-' before it: downwards
  double watch_seconds = 0;       // 0: once
  std::uint64_t watch_count = 0;  // 0: until it is ended
  std::function<int()> work;

  [[nodiscard]] std::chrono::milliseconds timeout() const {
    return std::chrono::milliseconds(static_cast<std::int64_t>(timeout_seconds * 1000));
  }
  [[nodiscard]] Format format() const {
    if (output == "json") return Format::kJson;
    return output == "yaml" ? Format::kYaml : Format::kTable;
  }
  [[nodiscard]] TableStyle style() const { return {!no_headers, output == "wide", columns}; }
  [[nodiscard]] Client client() const { return {daemon, timeout()}; }
};

// --watch and --count, for a verb that changes nothing.
void add_watch_options(CLI::App& verb, Context& context);
// Those, and --sort and --columns, for a verb that prints a list.
void add_list_options(CLI::App& verb, Context& context);
// The list in the order that was asked for. Failure (usage) if its documents have no such field.
[[nodiscard]] Json sorted(const Json& list, const Context& context);

void add_fleet(CLI::App& app, Context& context);
void add_hosts(CLI::App& app, Context& context);
void add_status(CLI::App& app, Context& context);
void add_users(CLI::App& app, Context& context);
void add_servers(CLI::App& app, Context& context);
void add_regions(CLI::App& app, Context& context);
void add_records(CLI::App& app, Context& context);
void add_gc(CLI::App& app, Context& context);
void add_scrub(CLI::App& app, Context& context);
void add_containment(CLI::App& app, Context& context);
void add_check(CLI::App& app, Context& context);
void add_events(CLI::App& app, Context& context);
void add_hypervisor(CLI::App& app, Context& context);
void add_config(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);
void add_top(CLI::App& app, Context& context);
void add_report(CLI::App& app, Context& context);
// For shells and for the manual page: both are made of the command tree itself.
void add_completion(CLI::App& app, Context& context);

}  // namespace vmsrs::cli
