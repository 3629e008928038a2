// SPDX-License-Identifier: Apache-2.0
#include "store/event_reader.hpp"

#include <sqlite3.h>

#include <algorithm>

namespace vmsrs::store {
namespace {

constexpr const char* kColumns = "id, boot, source, sequence, time, type, server, slot, document";

StoredEvent row(const Statement& statement) {
  StoredEvent stored;
  stored.id = statement.integer(0);
  Event& event = stored.event;
  event.boot = statement.text(1);
  event.source = static_cast<Source>(statement.integer(2));
  event.sequence = static_cast<std::uint64_t>(statement.integer(3));
  event.time = statement.real(4);
  event.type = statement.text(5);
  if (!statement.is_null(6)) event.server = statement.text(6);
  if (!statement.is_null(7)) event.slot = static_cast<std::uint32_t>(statement.integer(7));
  event.document = statement.text(8);
  return stored;
}

// The conditions of a filter, and the values of their parameters in this order.
std::string conditions(const Filter& filter) {
  std::string sql;
  if (filter.since) sql += " AND time >= ?";
  if (filter.until) sql += " AND time < ?";
  if (filter.server) sql += " AND server = ?";
  if (filter.slot) sql += " AND slot = ?";
  for (std::size_t i = 0; i < filter.types.size(); ++i) sql += i == 0 ? " AND type IN (?" : ", ?";
  return filter.types.empty() ? sql : sql + ")";
}

int bind(Statement& statement, const Filter& filter, int parameter) {
  if (filter.since) statement.bind(parameter++, *filter.since);
  if (filter.until) statement.bind(parameter++, *filter.until);
  if (filter.server) statement.bind(parameter++, *filter.server);
  if (filter.slot) statement.bind(parameter++, static_cast<std::int64_t>(*filter.slot));
  for (const std::string& type : filter.types) statement.bind(parameter++, type);
  return parameter;
}

int exists(Database& database, const Filter& filter, const char* comparison, std::int64_t id,
           bool& found) {
  const std::string sql = "SELECT 1 FROM events WHERE id " + std::string(comparison) + " ?" +
                          conditions(filter) + " LIMIT 1";
  Statement statement(database, sql.c_str());
  statement.bind(1, id);
  (void)bind(statement, filter, 2);
  const int code = statement.step();
  found = code == SQLITE_ROW;
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

int read_page(Database& database, const Filter& filter, const Page& page, Found& found) {
  const bool upwards = page.after.has_value();
  std::string sql = std::string("SELECT ") + kColumns + " FROM events WHERE 1";
  if (page.after) sql += " AND id > ?";
  if (page.before) sql += " AND id < ?";
  sql += conditions(filter) + (upwards ? " ORDER BY id LIMIT ?" : " ORDER BY id DESC LIMIT ?");
  Statement statement(database, sql.c_str());
  int parameter = 1;
  if (page.after) statement.bind(parameter++, *page.after);
  if (page.before) statement.bind(parameter++, *page.before);
  parameter = bind(statement, filter, parameter);
  statement.bind(parameter, static_cast<std::int64_t>(page.limit));
  int code = statement.step();
  for (; code == SQLITE_ROW; code = statement.step()) found.events.push_back(row(statement));
  if (code != SQLITE_DONE) return code;
  if (!upwards) std::reverse(found.events.begin(), found.events.end());
  return SQLITE_OK;
}

}  // namespace

std::optional<Problem> EventReader::list(const Filter& filter, const Page& page,
                                         Found& found) const {
  found = {};
  Database database;
  int code = database.open(path_, SQLITE_OPEN_READONLY);
  // One transaction, so that all questions are about the same state.
  if (code == SQLITE_OK) code = database.execute("BEGIN");
  if (code == SQLITE_OK) code = read_page(database, filter, page, found);
  if (code == SQLITE_OK && !found.events.empty()) {
    code = exists(database, filter, "<", found.events.front().id, found.more_before);
    if (code == SQLITE_OK)
      code = exists(database, filter, ">", found.events.back().id, found.more_after);
  } else if (code == SQLITE_OK && page.after) {
    code = exists(database, filter, "<=", *page.after, found.more_before);
  } else if (code == SQLITE_OK && page.before) {
    code = exists(database, filter, ">=", *page.before, found.more_after);
  }
  if (code == SQLITE_OK) return std::nullopt;
  found = {};
  return database.problem(code, "reading events");
}

std::optional<Problem> EventReader::get(std::int64_t id, std::optional<StoredEvent>& event) const {
  event.reset();
  Database database;
  int code = database.open(path_, SQLITE_OPEN_READONLY);
  if (code != SQLITE_OK) return database.problem(code, "reading an event");
  const std::string sql = std::string("SELECT ") + kColumns + " FROM events WHERE id = ?";
  Statement statement(database, sql.c_str());
  statement.bind(1, id);
  code = statement.step();
  if (code == SQLITE_ROW) event = row(statement);
  if (code == SQLITE_ROW || code == SQLITE_DONE) return std::nullopt;
  return database.problem(code, "reading an event");
}

std::optional<Problem> EventReader::newest(std::int64_t& id) const {
  Database database;
  int code = database.open(path_, SQLITE_OPEN_READONLY);
  if (code == SQLITE_OK)
    code = database.number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence", id);
  if (code == SQLITE_OK) return std::nullopt;
  return database.problem(code, "reading events");
}

}  // namespace vmsrs::store
