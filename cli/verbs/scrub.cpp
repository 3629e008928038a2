// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "confirm.hpp"
#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct Scrub {
  std::string server;
  bool yes = false, dry_run = false;
};

// What there is to compare.
int dry_run(const Context& context, const Scrub& scrub) {
  const Json answer = context.client().get("/v1/servers");
  Json servers = Json::array();
  for (const Json& server : answer.at("servers")) {
    const bool wanted = scrub.server.empty() ? server.at("attached").get<bool>()
                                             : server.at("name") == scrub.server;
    if (wanted) servers.push_back(server);
  }
  print(context.format(), Json{{"dry_run", true}, {"servers", servers}}, [&] {
    if (servers.empty()) std::printf("Nothing to scrub: no such server is attached.\n");
    for (const Json& server : servers)
      std::printf("Would compare %s of server %s\n", size_words(server.at("region_bytes")).c_str(),
                  words(server.at("name")).c_str());
  });
  return ops::kExitOk;
}

int work(const Context& context, const Scrub& scrub) {
  if (scrub.dry_run) return dry_run(context, scrub);
  const auto question = [&scrub] {
    return "Restore all bytes of " + (scrub.server.empty() ? "every server" : scrub.server) +
           " that nobody owns and that differ from their committed value?";
  };
  if (!scrub.yes) {
    confirm(question,
            "scrub changes memory of servers: give --yes where nobody can be asked; --dry-run and "
            "vmsrsctl check look and change nothing");
  }
  const Client client = context.client();
  Json body = {{"timeout_ms", client.timeout().count()}};
  if (!scrub.server.empty()) body["server"] = scrub.server;
  const Json answer = with_progress("scrubbing", [&] { return client.post("/v1/scrub", body); });
  print(context.format(), answer, [&] {
    if (answer.at("scrubs").empty()) std::printf("Nothing to scrub: no server is attached.\n");
    for (const Json& one : answer.at("scrubs")) {
      std::printf("%s: %s, %s granules restored, %s left\n", words(one.at("server")).c_str(),
                  one.at("complete").get<bool>() ? "scrubbed" : "not finished",
                  words(one.at("restored")).c_str(), size_words(one.at("bytes_left")).c_str());
    }
  });
  if (answer.at("complete").get<bool>()) return ops::kExitOk;
  throw Failure(ops::kExitFailed,
                "the scrub did not end in time: a thread of the server carries it out; look at the "
                "server, or give a longer --timeout");
}

}  // namespace

void add_scrub(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "scrub",
      "Compare the servers' regions with their committed value, and restore what was changed "
      "behind the library's back");
  const auto scrub = std::make_shared<Scrub>();
  verb->add_option("--server", scrub->server, "Only this server");
  verb->add_flag("--yes", scrub->yes, "Do not ask");
  verb->add_flag("--dry-run", scrub->dry_run, "Change nothing, say what would be done");
  verb->add_subcommand("run", "The same");
  verb->callback(
      [&context, scrub] { context.work = [&context, scrub] { return work(context, *scrub); }; });
}

}  // namespace vmsrs::cli
