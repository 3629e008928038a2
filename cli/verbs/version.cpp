// SPDX-License-Identifier: Apache-2.0
#include <ops_common/exit_codes.hpp>

#include "verbs/verbs.hpp"

namespace vmsrs::cli {

void add_version(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("version", "Show the versions of client, daemon and ABI");
  verb->callback([&context] {
    context.work = [&context] {
      Json document = {{"client", VMSRS_PROJECT_VERSION}};
      document.update(context.client().get("/v1/version"));
      print(context.format(), document, [&] {
        Table table;
        for (const auto& [name, value] : document.items()) table.add({name, words(value)});
        table.print();
      });
      return ops::kExitOk;
    };
  });
}

}  // namespace vmsrs::cli
