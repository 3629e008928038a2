// SPDX-License-Identifier: Apache-2.0
#include "client_file.hpp"

#include <cstdlib>
#include <filesystem>
#include <map>
#include <ops_common/exit_codes.hpp>
#include <ops_common/value.hpp>

namespace vmsrs::cli {
namespace {

std::string file_name() {
  const char* const folder = std::getenv("XDG_CONFIG_HOME");
  if (folder != nullptr && *folder != '\0') return std::string(folder) + "/vmsrs/client.yaml";
  const char* const home = std::getenv("HOME");
  return home == nullptr ? "" : std::string(home) + "/.config/vmsrs/client.yaml";
}

}  // namespace

void read_client_file(Daemon& daemon) {
  const std::string file = file_name();
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return;
  const std::map<std::string, std::string*> keys = {{"socket", &daemon.socket},
                                                    {"host", &daemon.host},
                                                    {"cert", &daemon.certificate},
                                                    {"key", &daemon.key},
                                                    {"ca", &daemon.ca}};
  try {
    const ops::Value root = ops::Value::of_file(file);
    root.expect_mapping({"socket", "host", "cert", "key", "ca"});
    for (const auto& [name, place] : keys)
      if (root[name].given()) *place = root[name].text("text");
  } catch (const ops::Error& problem) {
    throw Failure(ops::kExitUsage, problem.what());
  }
}

}  // namespace vmsrs::cli
