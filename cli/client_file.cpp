// SPDX-License-Identifier: Apache-2.0
#include "client_file.hpp"

#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <ops_common/closest.hpp>
#include <ops_common/exit_codes.hpp>

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
  std::vector<std::string> names;
  for (const auto& [name, place] : keys) names.push_back(name);
  const auto fail = [&](const YAML::Mark& mark, const std::string& what) {
    throw Failure(ops::kExitUsage, file + ":" + std::to_string(mark.line + 1) + ": " + what);
  };
  try {
    const YAML::Node root = YAML::LoadFile(file);
    if (root.IsNull()) return;
    if (!root.IsMap()) fail(root.Mark(), "expected a mapping with socket, host, cert, key and ca");
    for (const auto& member : root) {
      const std::string name = member.first.as<std::string>();
      const auto found = keys.find(name);
      if (found == keys.end()) {
        const auto meant = ops::closest(name, names);
        fail(member.first.Mark(),
             "unknown key \"" + name + "\"" + (meant ? "; did you mean \"" + *meant + "\"?" : ""));
      }
      if (!member.second.IsScalar()) fail(member.second.Mark(), name + ": expected text");
      *found->second = member.second.as<std::string>();
    }
  } catch (const YAML::Exception& caught) {
    fail(caught.mark, caught.msg);
  }
}

}  // namespace vmsrs::cli
