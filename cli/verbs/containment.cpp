// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {
namespace {

struct Containment {
  std::string server;
  std::string mode;
};

Json containment_of(const Client& client, const std::string& name) {
  const Json servers = client.get("/v1/servers");
  for (const Json& server : servers.at("servers"))
    if (server.at("name") == name)
      return {{"server", name}, {"containment", server.at("containment")}};
  throw Failure(ops::kExitFailed, "no server is called \"" + name + "\": look at servers list");
}

int work(const Context& context, const Containment& wanted) {
  const Client client = context.client();
  const Json answer =
      wanted.mode.empty()
          ? containment_of(client, wanted.server)
          : client.post("/v1/containment", {{"server", wanted.server}, {"mode", wanted.mode}});
  print(context.format(), answer, [&] {
    std::printf("%s: %s\n", words(answer.at("server")).c_str(),
                words(answer.at("containment")).c_str());
  });
  return ops::kExitOk;
}

}  // namespace

void add_containment(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "containment",
      "Tell, or change, what a server does about faults of users that have not crashed yet");
  const auto wanted = std::make_shared<Containment>();
  verb->add_option("SERVER", wanted->server, "The server's name")->required();
  verb->add_option("MODE", wanted->mode,
                   "contain, observe (count and tell, then as without the library), off, or own: "
                   "as each of its processes says")
      ->check(CLI::IsMember({"contain", "observe", "off", "own"}).description(""));
  verb->add_flag("--yes")->description("Do not ask: it is asked for several hosts only");
  verb->callback([&context, wanted] {
    context.looks_only = wanted->mode.empty();
    context.work = [&context, wanted] { return work(context, *wanted); };
  });
}

}  // namespace vmsrs::cli
