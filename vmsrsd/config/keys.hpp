// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <ops_common/value.hpp>
#include <string>
#include <vector>

#include "config/config.hpp"

// The table of all keys of vmsrs.yaml: what reads them, compares them at a reload and writes their
// JSON schema.
namespace vmsrs::config {

using ops::size_text;
using ops::Value;

enum class Change { kAtReload, kAtRestart };

struct Key {
  std::string name;  // "api.socket"
  std::string meaning;
  Change change;
  bool is_list;
  nlohmann::ordered_json schema;  // of the value, without default and description
  std::function<void(const Value&, Config&)> read;
  // As in the file; equal texts are equal values. Empty: nothing is set.
  std::function<std::string(const Config&)> text;
  std::function<void(const Config& from, Config& to)> copy;
};

[[nodiscard]] const std::vector<Key>& keys();

// VMSRS_API_SOCKET of api.socket.
[[nodiscard]] std::string environment_variable(const std::string& key);

// JSON schema (draft 2020-12) of vmsrs.yaml.
[[nodiscard]] nlohmann::ordered_json schema();

void read_servers(const Value& value, Config& config);

}  // namespace vmsrs::config
