// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace vmsrs::config {

// One value of the file with its place, so that every complaint can name it.
class Value {
 public:
  static Value root(std::string file, YAML::Node node);

  // Members of a mapping. Throws for keys that are not in `keys`, or that stand twice.
  void expect_mapping(const std::vector<std::string>& keys) const;
  [[nodiscard]] Value operator[](const std::string& key) const;
  [[nodiscard]] std::vector<Value> items() const;  // of a list; empty when nothing is given

  [[nodiscard]] bool given() const;  // stands in the file, and not as null
  [[nodiscard]] std::string where() const;

  // Each throws unless the value is a scalar of that kind.
  [[nodiscard]] std::string text(const std::string& expected) const;
  [[nodiscard]] std::uint64_t whole_number(std::uint64_t lowest, std::uint64_t highest) const;
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::uint32_t file_mode() const;
  [[nodiscard]] std::string one_of(std::initializer_list<const char*> choices) const;

  [[noreturn]] void fail(const std::string& expected) const;
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const;

 private:
  Value(std::string file, int line, std::string key, YAML::Node node);
  [[nodiscard]] std::string child_key(const std::string& key) const;
  [[nodiscard]] std::string found() const;

  std::string file_;
  int line_;
  std::string key_;
  YAML::Node node_;
};

}  // namespace vmsrs::config
