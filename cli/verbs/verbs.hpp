// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "output.hpp"

// The verbs of vmsrsctl, one a file. Each adds itself to the command tree and, when it was chosen,
// puts its work into `Context::work`, which returns the exit code.
namespace vmsrs::cli {

struct Context {
  std::string socket = "/run/vmsrs/api.sock";
  double timeout_seconds = 30;
  bool timeout_given = false;
  std::string output = "table";
  std::function<int()> work;

  [[nodiscard]] std::chrono::milliseconds timeout() const {
    return std::chrono::milliseconds(static_cast<std::int64_t>(timeout_seconds * 1000));
  }
  [[nodiscard]] Format format() const {
    if (output == "json") return Format::kJson;
    return output == "yaml" ? Format::kYaml : Format::kTable;
  }
  [[nodiscard]] Client client() const { return {socket, timeout()}; }
};

void add_status(CLI::App& app, Context& context);
void add_users(CLI::App& app, Context& context);
void add_servers(CLI::App& app, Context& context);
void add_gc(CLI::App& app, Context& context);
void add_scrub(CLI::App& app, Context& context);
void add_containment(CLI::App& app, Context& context);
void add_check(CLI::App& app, Context& context);
void add_events(CLI::App& app, Context& context);
void add_hypervisor(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);

}  // namespace vmsrs::cli
