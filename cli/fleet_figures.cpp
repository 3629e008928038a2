// SPDX-License-Identifier: Apache-2.0
#include "fleet_figures.hpp"

#include "prometheus.hpp"

namespace vmsrs::cli::figures {

std::string series(const std::string& name, const HostChoice& choice, const std::string& more) {
  std::string matchers = "job=\"vmsrs\"";
  if (!choice.name.empty()) matchers += ",instance=" + promql_string(choice.name);
  if (!choice.glob.empty())
    matchers += ",instance=~" + promql_string(expression_of_glob(choice.glob));
  for (const std::string& text : choice.labels) {
    const auto [label, value] = label_of(text);
    matchers += "," + label + "=" + promql_string(value);
  }
  return name + "{" + matchers + (more.empty() ? "" : "," + more) + "}";
}

std::string one_of(const std::string& label, const std::vector<std::string>& values) {
  std::string expression;
  for (const std::string& value : values)
    expression += (expression.empty() ? "" : "|") + expression_of_text(value);
  return label + "=~" + promql_string(expression);
}

std::string suppression_age(const HostChoice& choice, const std::string& more) {
  return "time() - " + series("vmsrs_oldest_suppression_start_timestamp_seconds", choice, more);
}

std::string overhead(const HostChoice& choice, const std::string& more) {
  return "sum by (instance) (rate(" + series("vmsrs_hypervisor_cycles_total", choice, more) +
         "[5m])) / sum by (instance) (" + series("vmsrs_tsc_hertz", choice, more) + " * " +
         series("vmsrs_cpus", choice, more) + ")";
}

}  // namespace vmsrs::cli::figures
