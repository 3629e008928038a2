// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "client.hpp"

namespace vmsrs::cli {

enum class Format { kTable, kJson, kYaml };
enum class Colour { kNone, kGood, kWarning, kBad };

struct Cell {
  Cell(std::string text_, Colour colour_ = Colour::kNone)  // NOLINT: implicit on purpose
      : text(std::move(text_)), colour(colour_) {}
  Cell(const char* text_) : text(text_) {}  // NOLINT

  std::string text;
  Colour colour = Colour::kNone;
};

// Columns as wide as their widest cell. Colours only on a terminal and without NO_COLOR.
class Table {
 public:
  explicit Table(std::vector<Cell> header = {}) { rows_.push_back(std::move(header)); }
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  void print() const;

 private:
  std::vector<std::vector<Cell>> rows_;
};

// `document` to stdout as JSON or YAML, or what `table` prints.
void print(Format format, const Json& document, const std::function<void()>& table);

// Words for people.
[[nodiscard]] std::string words(const Json& value);  // null is "-"
[[nodiscard]] std::string size_words(const Json& bytes);
[[nodiscard]] std::string duration_words(const Json& seconds);  // null is "-"
[[nodiscard]] Cell mode_cell(const Json& mode);
[[nodiscard]] Cell containment_cell(const Json& mode);
[[nodiscard]] Cell state_cell(const Json& state);
// Not 0: in the colour.
[[nodiscard]] Cell count_cell(const Json& count, Colour colour);

}  // namespace vmsrs::cli
