// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "output.hpp"

namespace vmsrs::cli {

// While it lives, what a verb prints is kept instead, to be put together with what it prints of
// other hosts; nobody is asked and no progress is told. One at a time, in a process of its own:
// stdout leads elsewhere from then on.
class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // The one that goes on, or null.
  static Recording* current();

  void add_document(const Json& document) { document_ = document; }
  void add_table(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows);

  // `document`: null if the verb printed none; `blocks`, of the output as a table: {"text"} or
  // {"columns", "rows"}.
  [[nodiscard]] Json take();

 private:
  void take_text();

  int file_;
  Json document_, blocks_ = Json::array();
};

// Tables and lines of several hosts as one: a column HOST before them, tables of the same columns
// joined into one.
class JoinedTables {
 public:
  void add(const std::string& host, const Json& blocks);
  void print(const TableStyle& style) const;

 private:
  struct Group {
    std::string kind;
    std::vector<Column> columns;  // none: lines
    Table table;
  };
  Group& group(const Json& columns);

  std::vector<Group> groups_;
};

}  // namespace vmsrs::cli
