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

// The text as a terminal shows it in that colour; elsewhere, and with NO_COLOR, as it is.
[[nodiscard]] std::string painted(const Cell& cell);

struct Column {
  Column(const char* header_, bool wide_ = false) : header(header_), wide(wide_) {}  // NOLINT

  std::string header;
  bool wide = false;  // shown on request only
};

// What the user wants of tables.
struct TableStyle {
  bool headers = true;
  bool wide = false;
  std::vector<std::string> columns;  // headers, in this order; empty: those of the table
};

// Columns as wide as their widest cell. Colours only on a terminal and without NO_COLOR.
class Table {
 public:
  // Without columns: rows of cells, of any number.
  explicit Table(std::vector<Column> columns = {}) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  // Failure (usage) if a column is wanted that is not there.
  [[nodiscard]] std::string text(const TableStyle& style = {}) const;
  void print(const TableStyle& style = {}) const;

 private:
  [[nodiscard]] std::vector<std::size_t> chosen(const TableStyle& style) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// On a terminal: what is printed next as a table begins on an empty screen.
void clear_screen_before_next_table();

// `document` to stdout as JSON or YAML, or what `table` prints.
void print(Format format, const Json& document, const std::function<void()>& table);

// What `work` answers; on a terminal stderr tells what is being done and for how long, once that
// lasts longer than a second.
[[nodiscard]] Json with_progress(const std::string& what, const std::function<Json()>& work);

// Ends with exit code 2: `word` is no `what`; names what there is, and what was probably meant.
[[noreturn]] void fail_unknown(const std::string& what, const std::string& word,
                               const std::vector<std::string>& known);

[[nodiscard]] std::string joined(const std::vector<std::string>& words, const char* between);

// Words for people.
[[nodiscard]] std::string words(const Json& value);  // null is "-"
[[nodiscard]] std::string size_words(const Json& bytes);
[[nodiscard]] std::string duration_words(const Json& seconds);  // null is "-"
// "90", "90s", "10min", "2h", "1d" as seconds; only of what has no duration_problem().
[[nodiscard]] double seconds_in(const std::string& text);
// Empty if `text` is such a time.
[[nodiscard]] std::string duration_problem(const std::string& text);
[[nodiscard]] Cell mode_cell(const Json& mode);
[[nodiscard]] Cell containment_cell(const Json& mode);
[[nodiscard]] Cell state_cell(const Json& state);
// Not 0: in the colour.
[[nodiscard]] Cell count_cell(const Json& count, Colour colour);

}  // namespace vmsrs::cli
