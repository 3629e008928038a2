// SPDX-License-Identifier: Apache-2.0
#include "store/database.hpp"

#include <sqlite3.h>

#include <utility>

namespace vmsrs::store {

int Database::open(const std::string& path, int flags) {
  close();
  path_ = path;
  const int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    close();
    return code;
  }
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, 5000);  // somebody may look with the program sqlite3
  return SQLITE_OK;
}

void Database::close() {
  if (handle_ != nullptr) sqlite3_close_v2(handle_);
  handle_ = nullptr;
}

int Database::execute(const char* sql) {
  return sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
}

int Database::number(const char* sql, std::int64_t& value) {
  Statement statement(*this, sql);
  const int code = statement.step();
  value = code == SQLITE_ROW ? statement.integer(0) : 0;
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int Database::text(const char* sql, std::string& value) {
  Statement statement(*this, sql);
  const int code = statement.step();
  value = code == SQLITE_ROW ? statement.text(0) : "";
  return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

Problem Database::problem(int code, const std::string& doing) const {
  const int primary = code & 0xff;
  return {primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB,
          path_ + ": " + doing + ": " + sqlite3_errstr(code)};
}

Statement::Statement(Database& database, const char* sql)
    : prepared_(database.is_open()
                    ? sqlite3_prepare_v2(database.handle(), sql, -1, &handle_, nullptr)
                    : SQLITE_CANTOPEN) {}

Statement::~Statement() { sqlite3_finalize(handle_); }

void Statement::bind(int parameter, std::int64_t value) {
  sqlite3_bind_int64(handle_, parameter, value);
}
void Statement::bind(int parameter, double value) {
  sqlite3_bind_double(handle_, parameter, value);
}
void Statement::bind(int parameter, std::string_view value) {
  sqlite3_bind_text(handle_, parameter, value.data(), static_cast<int>(value.size()),
                    SQLITE_TRANSIENT);
}
void Statement::bind_null(int parameter) { sqlite3_bind_null(handle_, parameter); }

int Statement::step() { return prepared_ == SQLITE_OK ? sqlite3_step(handle_) : prepared_; }
void Statement::reset() { sqlite3_reset(handle_); }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }
std::string Statement::text(int column) const {
  const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return text == nullptr
             ? std::string()
             : std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)));
}
bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

}  // namespace vmsrs::store
