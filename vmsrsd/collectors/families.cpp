// SPDX-License-Identifier: Apache-2.0
#include "collectors/families.hpp"

#include <iterator>

namespace vmsrs::collectors {

void Family::add(double value, Labels labels) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  if (family_.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family_.metric.push_back(std::move(metric));
}

void Family::add(const prometheus::ClientMetric::Histogram& histogram, Labels labels) {
  prometheus::ClientMetric metric;
  metric.label = std::move(labels);
  metric.histogram = histogram;
  family_.metric.push_back(std::move(metric));
}

Family Families::open(std::string_view name, std::string_view help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  families_.push_back(std::move(family));
  return Family(families_.back());
}

Family Families::counter(std::string_view name, std::string_view help) {
  return open(name, help, prometheus::MetricType::Counter);
}

Family Families::gauge(std::string_view name, std::string_view help) {
  return open(name, help, prometheus::MetricType::Gauge);
}

Family Families::histogram(std::string_view name, std::string_view help) {
  return open(name, help, prometheus::MetricType::Histogram);
}

void Families::append(Families&& other) {
  families_.insert(families_.end(), std::make_move_iterator(other.families_.begin()),
                   std::make_move_iterator(other.families_.end()));
}

}  // namespace vmsrs::collectors
