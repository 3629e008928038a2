// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ops_common/closest.hpp>
#include <ops_common/exit_codes.hpp>
#include <thread>

#include "client_file.hpp"
#include "host_options.hpp"
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

// CLI11 only says that a verb is required, or, asked for help as well, tells of what it knows.
// Walks the command line down the tree of verbs to the first word that is none, or to where one is
// missing.
struct VerbProblem {
  std::string text;  // empty: there is none
  bool unknown = false;
};

VerbProblem verb_problem(const CLI::App& app, int argc, char** argv) {
  const CLI::App* where = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) {
      const CLI::Option* const option = app.get_option_no_throw(word);
      if (option != nullptr && option->get_expected_min() > 0) ++i;  // its value
      continue;
    }
    const std::vector<std::string> verbs = verbs_of(*where);
    if (verbs.empty()) return {};
    if (std::find(verbs.begin(), verbs.end(), word) == verbs.end()) {
      const auto meant = ops::closest(word, verbs);
      return {"no verb \"" + word + "\"" + (meant ? ", did you mean \"" + *meant + "\"?" : "") +
                  " (there are: " + joined(verbs, ", ") + ")",
              true};
    }
    where = where->get_subcommand(word);
  }
  const std::vector<std::string> verbs = verbs_of(*where);
  if (verbs.empty()) return {};
  return {"a verb is missing (there are: " + joined(verbs, ", ") + ")"};
}

void build(CLI::App& app, Context& context) {
  app.add_option("-o,--output", context.output,
                 "Form of the output: table, wide (a table with more columns), json or yaml")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml"}).description(""))
      ->type_name("FORM");
  app.add_flag("--no-headers", context.no_headers, "Tables without the line of headers");
  Daemon& daemon = context.daemon;
  app.add_option("--socket", daemon.socket, "Socket of vmsrsd, default " + daemon.socket)
      ->envname("VMSRS_SOCKET")
      ->type_name("PATH");
  app.add_option(
         "--host", daemon.host,
         "A vmsrsd elsewhere, over TLS, in place of the socket: HOST:PORT, or a name of the "
         "fleet file")
      ->envname("VMSRS_HOST")
      ->type_name("HOST");
  add_host_options(app, context);
  app.add_option("--cert", daemon.certificate, "Certificate of this client, for --host")
      ->envname("VMSRS_CERT")
      ->type_name("FILE");
  app.add_option("--key", daemon.key, "Its private key")->envname("VMSRS_KEY")->type_name("FILE");
  app.add_option("--ca", daemon.ca, "Certificate that vouches for that vmsrsd")
      ->envname("VMSRS_CA")
      ->type_name("FILE");
  app.add_option("--timeout", context.timeout_seconds, "Longest wait in seconds, default 30")
      ->check(CLI::Range(0.001, 600.0).description(""))
      ->type_name("SECONDS");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 usage, 3 an invariant is violated, 4 no daemon or no "
      "hypervisor, 5 denied, 6 some of several hosts failed.");
  add_status(app, context);
  add_top(app, context);
  add_users(app, context);
  add_servers(app, context);
  add_regions(app, context);
  add_records(app, context);
  add_gc(app, context);
  add_scrub(app, context);
  add_containment(app, context);
  add_check(app, context);
  add_events(app, context);
  add_hypervisor(app, context);
  add_config(app, context);
  add_hosts(app, context);
  add_fleet(app, context);
  add_report(app, context);
  add_version(app, context);
  add_completion(app, context);
}

// Of an option that there is not: the one that was meant.
std::string unknown_option(const CLI::App& app, int argc, char** argv) {
  const CLI::App* where = &app;
  std::vector<std::string> known;
  const auto learn = [&known](const CLI::App& verb) {
    for (const CLI::Option* option : verb.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  };
  learn(app);
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with("--")) {
      const auto verbs = verbs_of(*where);
      if (std::find(verbs.begin(), verbs.end(), word) != verbs.end()) {
        where = where->get_subcommand(word);
        learn(*where);
      }
      continue;
    }
    word = word.substr(0, word.find('='));
    if (word == "--" || std::find(known.begin(), known.end(), word) != known.end()) continue;
    const auto meant = ops::closest(word, known);
    return "no option \"" + word + "\"" + (meant ? ", did you mean \"" + *meant + "\"?" : "");
  }
  return "";
}

constexpr const char* kWhereToLook = "; vmsrsctl --help shows all";

std::string explain(const CLI::App& app, int argc, char** argv, const CLI::ParseError& error) {
  std::string problem = unknown_option(app, argc, argv);
  if (problem.empty() && error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ValidationError))
    problem = verb_problem(app, argc, argv).text;
  return (problem.empty() ? error.what() : problem) + kWhereToLook;
}

// Once, or again and again as --watch says.
int work(const Context& context) {
  if (context.watch_seconds == 0) return context.work();
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  for (std::uint64_t turn = 1;; ++turn) {
    if (terminal) clear_screen_before_next_table();
    const int code = context.work();
    const bool goes_on = code == ops::kExitOk || code == ops::kExitSomeFailed;
    if (std::fflush(stdout) != 0 || !goes_on || turn == context.watch_count) return code;
    std::this_thread::sleep_for(std::chrono::duration<double>(context.watch_seconds));
  }
}

bool on_command_line(int argc, char** argv, const std::string& option) {
  return std::any_of(argv + 1, argv + argc, [&](const char* word) {
    return word == option || std::string_view(word).starts_with(option + "=");
  });
}

int run(int argc, char** argv) {
  Context context;
  try {
    read_client_file(context.daemon);
  } catch (const Failure& failure) {
    return complain(failure.exit_code(), failure.what());
  }
  CLI::App app("vmsrsctl: look at VMSRS on this host, and act", "vmsrsctl");
  build(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool help = error.get_exit_code() == 0;
    if (help) {
      const VerbProblem problem = verb_problem(app, argc, argv);
      if (problem.unknown) return complain(ops::kExitUsage, problem.text + kWhereToLook);
      return app.exit(error);
    }
    return complain(ops::kExitUsage, explain(app, argc, argv, error));
  }
  // A word of the command line goes before what is set for all: --socket before VMSRS_HOST.
  const bool socket_given = on_command_line(argc, argv, "--socket");
  const bool host_given = on_command_line(argc, argv, "--host");
  if ((socket_given || context.choice.several()) && !host_given) context.daemon.host.clear();
  if (host_given) context.choice.name = context.daemon.host;
  context.timeout_given = app.count("--timeout") > 0;
  try {
    if (context.choice.several() && (socket_given || host_given))
      throw Failure(ops::kExitUsage,
                    "--hosts, --label and --all choose among the hosts of the fleet file: give "
                    "neither --socket nor --host beside them");
    turn_to_hosts(app, context);
    return work(context);
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
