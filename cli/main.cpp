// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ops_common/closest.hpp>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

int complain(int exit_code, const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "vmsrsctl: %s\n", message.c_str());
  return exit_code;
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

// CLI11 only says that a verb is required. Walks the command line down the tree of verbs to the
// first word that is none; empty if there is no such word.
std::string unknown_verb(const CLI::App& app, int argc, char** argv) {
  const CLI::App* where = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--output" || word == "-o" || word == "--socket" || word == "--timeout") {
      ++i;  // its value
      continue;
    }
    if (word.starts_with('-')) continue;
    const std::vector<std::string> verbs = verbs_of(*where);
    if (verbs.empty()) return "";
    if (std::find(verbs.begin(), verbs.end(), word) == verbs.end()) {
      const auto meant = ops::closest(word, verbs);
      return "no verb \"" + word + "\"" + (meant ? ", did you mean \"" + *meant + "\"?" : "") +
             " (there are: " + joined(verbs) + ")";
    }
    where = where->get_subcommand(word);
  }
  const std::vector<std::string> verbs = verbs_of(*where);
  return verbs.empty() ? "" : "a verb is missing (there are: " + joined(verbs) + ")";
}

void build(CLI::App& app, Context& context) {
  app.add_option("-o,--output", context.output, "Form of the output: table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}).description(""))
      ->type_name("FORM");
  app.add_option("--socket", context.socket, "Socket of vmsrsd, default " + context.socket)
      ->envname("VMSRS_SOCKET")
      ->type_name("PATH");
  app.add_option("--timeout", context.timeout_seconds, "Longest wait in seconds, default 30")
      ->check(CLI::Range(0.001, 600.0).description(""))
      ->type_name("SECONDS");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 usage, 3 an invariant is violated, 4 no daemon or no "
      "hypervisor, 5 denied.");
  add_status(app, context);
  add_users(app, context);
  add_servers(app, context);
  add_gc(app, context);
  add_scrub(app, context);
  add_containment(app, context);
  add_check(app, context);
  add_events(app, context);
  add_hypervisor(app, context);
  add_version(app, context);
}

int run(int argc, char** argv) {
  Context context;
  CLI::App app("vmsrsctl: look at VMSRS on this host, and act", "vmsrsctl");
  build(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    const std::string verb = unknown_verb(app, argc, argv);
    return complain(ops::kExitUsage,
                    (verb.empty() ? error.what() : verb) + "; vmsrsctl --help shows all");
  }
  context.timeout_given = app.count("--timeout") > 0;
  try {
    return context.work();
  } catch (const Failure& failure) {
    return complain(failure.exit_code(), failure.what());
  } catch (const Json::exception& error) {
    return complain(ops::kExitFailed, std::string("vmsrsd gave an answer of another form; are both "
                                                  "of the same release? ") +
                                          error.what());
  }
}

}  // namespace
}  // namespace vmsrs::cli

int main(int argc, char** argv) { return vmsrs::cli::run(argc, argv); }
