// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vmsrs::collectors {

using Labels = std::vector<prometheus::ClientMetric::Label>;

// One metric family while it is being filled. Values of a counter never fall while the hypervisor
// runs; a gauge may do what it likes.
class Family {
 public:
  explicit Family(prometheus::MetricFamily& family) : family_(family) {}
  void add(double value, Labels labels = {});
  void add(const prometheus::ClientMetric::Histogram& histogram, Labels labels = {});

 private:
  prometheus::MetricFamily& family_;
};

// The families of one scrape, in the order in which they were asked for.
class Families {
 public:
  // Valid until the next call of any of the three.
  Family counter(std::string_view name, std::string_view help);
  Family gauge(std::string_view name, std::string_view help);
  Family histogram(std::string_view name, std::string_view help);

  // Families of `other` go to the end.
  void append(Families&& other);
  [[nodiscard]] std::vector<prometheus::MetricFamily> take() && { return std::move(families_); }

 private:
  Family open(std::string_view name, std::string_view help, prometheus::MetricType type);
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace vmsrs::collectors
