// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

// The hosts that vmsrsctl knows by name. Every key is explained in docs/fleet.md.
namespace vmsrs::cli {

struct FleetHost {
  std::string name;
  std::string address;  // HOST:PORT of its API over TLS
  std::map<std::string, std::string> labels;
};

// Where an HTTPS service is, and how to prove who asks. Files are PEM; empty: none.
struct PrometheusPlace {
  std::string url;
  std::string certificate, key, ca;
};

struct Fleet {
  std::string file;
  std::string certificate, key, ca;  // PEM files for the hosts' API; empty: not given
  PrometheusPlace prometheus;
  std::vector<FleetHost> hosts;  // in the file's order
};

// Which hosts are meant: all that hold every condition that is given.
struct HostChoice {
  std::string name;                 // the one of this name
  std::string glob;                 // *, ? and [...] over whole names
  std::vector<std::string> labels;  // KEY=VALUE
  bool all = false;

  [[nodiscard]] bool several() const { return all || !glob.empty() || !labels.empty(); }
  [[nodiscard]] bool given() const { return several() || !name.empty(); }
};

// Throws Failure (usage), with file, line and key.
[[nodiscard]] Fleet read_fleet_file(const std::string& file);

// In the file's order. Throws Failure (usage) if there is none.
[[nodiscard]] std::vector<FleetHost> chosen_hosts(const Fleet& fleet, const HostChoice& choice);

// The two parts of KEY=VALUE. Throws Failure (usage).
[[nodiscard]] std::pair<std::string, std::string> label_of(const std::string& text);

// The regular expression, of whole names, that takes what a glob takes: the same in C++
// (ECMAScript) and in Prometheus (RE2).
[[nodiscard]] std::string expression_of_glob(const std::string& glob);
// The one that takes `text` alone.
[[nodiscard]] std::string expression_of_text(const std::string& text);

}  // namespace vmsrs::cli
