// SPDX-License-Identifier: Apache-2.0
#include "fleet_file.hpp"

#include <algorithm>
#include <ops_common/closest.hpp>
#include <ops_common/exit_codes.hpp>
#include <ops_common/value.hpp>
#include <regex>
#include <set>

#include "client.hpp"

namespace vmsrs::cli {
namespace {

using ops::Value;

// Labels that the metrics have of themselves: a host's would hide behind them.
const std::set<std::string> kTakenLabels = {
    "abi", "cause",     "certificate", "collector", "cpu",    "end",    "instance", "invariant",
    "job", "isolation", "kind",        "le",        "reason", "server", "type",     "version"};

bool is_word(const std::string& text, const char* more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [more](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view(more).find(c) != std::string_view::npos;
  });
}

std::map<std::string, std::string> read_labels(const Value& value) {
  std::map<std::string, std::string> labels;
  for (const auto& [name, label] : value.members("a mapping of labels")) {
    if (!is_word(name, "_") || (name.front() >= '0' && name.front() <= '9') ||
        name.starts_with("__"))
      label.fail("a label's name: letters, digits and _, no digit first", "\"" + name + "\"");
    if (kTakenLabels.contains(name))
      label.fail("a label that the metrics do not have themselves", "\"" + name + "\"");
    labels[name] = label.text("a text");
  }
  return labels;
}

FleetHost read_host(const Value& value) {
  if (!value.given()) value.fail("a mapping with name, address, labels");
  value.expect_mapping({"name", "address", "labels"});
  FleetHost host;
  const std::string named = "a name of letters, digits, - _ and .";
  host.name = value["name"].text(named);
  if (!is_word(host.name, "-_.")) value["name"].fail(named);
  const std::string placed = "HOST:PORT such as shop1.example.org:9471";
  host.address = value["address"].text(placed);
  if (!parse_address(host.address)) value["address"].fail(placed);
  host.labels = read_labels(value["labels"]);
  return host;
}

void read_files(const Value& value, std::string& certificate, std::string& key, std::string& ca) {
  const auto read = [&value](const char* name, std::string& file) {
    if (value[name].given()) file = value[name].absolute_path();
  };
  read("certificate", certificate);
  read("key", key);
  read("ca", ca);
}

Fleet read(const std::string& file) {
  const Value root = Value::of_file(file);
  root.expect_mapping({"defaults", "prometheus", "hosts"});
  Fleet fleet;
  fleet.file = file;
  const Value defaults = root["defaults"];
  defaults.expect_mapping({"certificate", "key", "ca"});
  read_files(defaults, fleet.certificate, fleet.key, fleet.ca);
  const Value prometheus = root["prometheus"];
  prometheus.expect_mapping({"url", "certificate", "key", "ca"});
  if (prometheus["url"].given())
    fleet.prometheus.url = prometheus["url"].text("a URL such as https://prometheus:9090");
  read_files(prometheus, fleet.prometheus.certificate, fleet.prometheus.key, fleet.prometheus.ca);
  std::set<std::string> names;
  for (const Value& item : root["hosts"].items()) {
    fleet.hosts.push_back(read_host(item));
    if (!names.insert(fleet.hosts.back().name).second)
      item["name"].fail("each name once", "\"" + fleet.hosts.back().name + "\" again");
  }
  return fleet;
}

[[noreturn]] void fail_none(const Fleet& fleet, const HostChoice& choice) {
  std::string conditions;
  const auto add = [&conditions](const std::string& condition) {
    conditions += (conditions.empty() ? " " : " and ") + condition;
  };
  std::string meant;
  if (const std::string& name = choice.name.empty() ? choice.glob : choice.name; !name.empty()) {
    add("is called \"" + name + "\"");
    std::vector<std::string> names;
    for (const FleetHost& host : fleet.hosts) names.push_back(host.name);
    if (const auto closest = ops::closest(name, names))
      meant = ", did you mean \"" + *closest + "\"?";
  }
  for (const std::string& label : choice.labels) add("has the label " + label);
  if (conditions.empty()) conditions = " is there";
  throw Failure(ops::kExitUsage, "no host of " + fleet.file + conditions + meant +
                                     " (vmsrsctl hosts list shows all " +
                                     std::to_string(fleet.hosts.size()) + ")");
}

}  // namespace

Fleet read_fleet_file(const std::string& file) {
  try {
    return read(file);
  } catch (const ops::Error& error) {
    throw Failure(ops::kExitUsage, std::string(error.what()) + " (see docs/fleet.md)");
  }
}

std::pair<std::string, std::string> label_of(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || !is_word(text.substr(0, equals), "_"))
    throw Failure(ops::kExitUsage, "--label: \"" + text + "\" is no KEY=VALUE such as site=berlin");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::string expression_of_glob(const std::string& glob) {
  std::string expression;
  for (std::size_t i = 0; i < glob.size(); ++i) {
    const char c = glob[i];
    const std::size_t end = c == '[' ? glob.find(']', i + 2) : std::string::npos;
    if (c == '*') {
      expression += ".*";
    } else if (c == '?') {
      expression += '.';
    } else if (end != std::string::npos) {
      const bool negative = glob[i + 1] == '!' || glob[i + 1] == '^';
      expression += negative ? "[^" : "[";
      for (std::size_t j = i + (negative ? 2 : 1); j < end; ++j) {
        if (std::string_view("\\[^").find(glob[j]) != std::string_view::npos) expression += '\\';
        expression += glob[j];
      }
      expression += ']';
      i = end;
    } else {
      expression += expression_of_text({c});
    }
  }
  return expression;
}

std::string expression_of_text(const std::string& text) {
  std::string expression;
  for (const char c : text) {
    if (std::string_view("\\^$.|*?+()[]{}").find(c) != std::string_view::npos) expression += '\\';
    expression += c;
  }
  return expression;
}

std::vector<FleetHost> chosen_hosts(const Fleet& fleet, const HostChoice& choice) {
  std::vector<std::pair<std::string, std::string>> labels;
  for (const std::string& text : choice.labels) labels.push_back(label_of(text));
  std::regex glob;
  try {
    glob = std::regex(expression_of_glob(choice.glob), std::regex::optimize);
  } catch (const std::regex_error&) {
    throw Failure(ops::kExitUsage, "--hosts: \"" + choice.glob + "\" is no pattern such as shop*");
  }
  const auto is_meant = [&](const FleetHost& host) {
    return (choice.name.empty() || host.name == choice.name) &&
           (choice.glob.empty() || std::regex_match(host.name, glob)) &&
           std::all_of(labels.begin(), labels.end(), [&host](const auto& label) {
             const auto found = host.labels.find(label.first);
             return found != host.labels.end() && found->second == label.second;
           });
  };
  std::vector<FleetHost> chosen;
  std::copy_if(fleet.hosts.begin(), fleet.hosts.end(), std::back_inserter(chosen), is_meant);
  if (chosen.empty()) fail_none(fleet, choice);
  return chosen;
}

}  // namespace vmsrs::cli
