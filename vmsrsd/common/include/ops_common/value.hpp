// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Reading YAML files whose every mistake is told by file, line and key: those of vmsrsd, and of
// vmsrsctl.
namespace vmsrs::ops {

// The whole message: `FILE:LINE: KEY: expected ..., found ...`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// 64MiB, 0: as in the file.
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// One value of the file with its place, so that every complaint can name it.
class Value {
 public:
  // The one document of a file. Throws if it cannot be read, or is no YAML.
  static Value of_file(const std::string& file);
  static Value root(std::string file, YAML::Node node);
  // What an environment variable gives for `key`.
  static Value of_environment(const std::string& variable, const std::string& key, YAML::Node node);

  // Members of a mapping. Throws for keys that are not in `keys`, or that stand twice.
  void expect_mapping(const std::vector<std::string>& keys) const;
  [[nodiscard]] Value operator[](const std::string& key) const;
  // Of a mapping with keys of any name, in the file's order; empty when nothing is given. Throws,
  // with what was `expected`, for anything else, and for keys that stand twice.
  [[nodiscard]] std::vector<std::pair<std::string, Value>> members(
      const std::string& expected) const;
  [[nodiscard]] std::vector<Value> items() const;  // of a list; empty when nothing is given

  [[nodiscard]] bool given() const;  // stands in the file, and not as null
  [[nodiscard]] std::string where() const;

  // Each throws unless the value is a scalar of that kind.
  [[nodiscard]] std::string text(const std::string& expected) const;
  [[nodiscard]] std::uint64_t whole_number(std::uint64_t lowest, std::uint64_t highest) const;
  [[nodiscard]] std::uint64_t bytes(std::uint64_t lowest = 0,
                                    std::uint64_t highest = ~std::uint64_t{0}) const;
  [[nodiscard]] bool flag() const;
  [[nodiscard]] std::uint32_t file_mode() const;
  [[nodiscard]] std::string absolute_path() const;
  [[nodiscard]] std::string one_of(const std::vector<std::string>& choices) const;

  [[noreturn]] void fail(const std::string& expected) const;
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const;

 private:
  Value(std::string file, int line, std::string key, YAML::Node node);
  [[nodiscard]] std::string child_key(const std::string& key) const;
  [[nodiscard]] std::string found() const;

  std::string file_;
  int line_;  // 0: not of a file
  std::string key_;
  YAML::Node node_;
};

}  // namespace vmsrs::ops
