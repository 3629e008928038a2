// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "fleet_file.hpp"

namespace vmsrs::cli {

// One value of an answer.
struct PrometheusSample {
  std::map<std::string, std::string> labels;
  double value = 0;
};

// An expression (PromQL), and the name under which its values are told.
struct Figure {
  std::string name;
  std::string expression;
};

// Of each figure its values.
using Figures = std::map<std::string, std::vector<PrometheusSample>>;

// Prometheus's HTTP API.
class PrometheusClient {
 public:
  // Throws Failure (usage) if the URL or a file is no good.
  PrometheusClient(PrometheusPlace place, std::chrono::milliseconds timeout);

  // All figures by one query, at one moment of Prometheus's. Throws Failure.
  [[nodiscard]] Figures ask(const std::vector<Figure>& figures) const;

  [[nodiscard]] const std::string& url() const { return place_.url; }

 private:
  PrometheusPlace place_;
  std::string origin_, path_;  // of the URL
  std::chrono::milliseconds timeout_;
};

// `text` as a string of PromQL.
[[nodiscard]] std::string promql_string(const std::string& text);

}  // namespace vmsrs::cli
