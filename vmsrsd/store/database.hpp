// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace vmsrs::store {

// Why the store could not do something.
struct Problem {
  bool damaged = false;  // the file is no database any more; else it may pass: full disk, read-only
  std::string text;      // one line, with the file's name
};

// One connection to SQLite. One thread at a time. Failures are codes of SQLite (SQLITE_OK = 0).
class Database {
 public:
  Database() = default;
  ~Database() { close(); }
  Database(Database&& other) noexcept : handle_(other.handle_), path_(std::move(other.path_)) {
    other.handle_ = nullptr;
  }
  Database& operator=(Database&&) = delete;

  [[nodiscard]] int open(const std::string& path, int flags);
  void close();
  [[nodiscard]] bool is_open() const { return handle_ != nullptr; }
  [[nodiscard]] int execute(const char* sql);
  // The number that a statement answers in its first row and column; 0 if there is none.
  [[nodiscard]] int number(const char* sql, std::int64_t& value);
  [[nodiscard]] int text(const char* sql, std::string& value);
  [[nodiscard]] sqlite3* handle() const { return handle_; }
  // What `code` means here and now. `doing`: "storing events".
  [[nodiscard]] Problem problem(int code, const std::string& doing) const;

 private:
  sqlite3* handle_ = nullptr;
  std::string path_;
};

// A prepared statement. Parameters and columns count from 1 and from 0, as SQLite has them.
class Statement {
 public:
  Statement(Database& database, const char* sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  [[nodiscard]] int prepared() const { return prepared_; }
  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view value);  // copied
  void bind_null(int parameter);
  // SQLITE_ROW, SQLITE_DONE or an error.
  [[nodiscard]] int step();
  void reset();
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] bool is_null(int column) const;

 private:
  sqlite3_stmt* handle_ = nullptr;
  int prepared_;
};

}  // namespace vmsrs::store
