// SPDX-License-Identifier: Apache-2.0
#include "store/event_store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

namespace vmsrs::store {
namespace {

constexpr std::int64_t kApplicationId = 0x564d5352;  // "VMSR", in the file's header
constexpr std::int64_t kSchemaVersion = 1;
constexpr int kDeletedAtOnce = 500;
constexpr std::int64_t kFreePagesKept = 64;  // they are used again: not worth moving others

// Before the first table; what is there already stays as it is.
constexpr const char* kSettings =
    "PRAGMA auto_vacuum=INCREMENTAL;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA journal_size_limit=4194304;";

constexpr const char* kSchema =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE events("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " boot TEXT NOT NULL, source INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " time REAL NOT NULL, type TEXT NOT NULL, server TEXT, slot INTEGER, document TEXT NOT NULL,"
    " UNIQUE(boot, source, sequence)) STRICT;"
    "CREATE INDEX events_by_time ON events(time);"
    "CREATE TABLE cursors("
    " boot TEXT NOT NULL, source INTEGER NOT NULL, next INTEGER NOT NULL, lost INTEGER NOT NULL,"
    " PRIMARY KEY(boot, source)) STRICT, WITHOUT ROWID;"
    "PRAGMA application_id=1447908178;"
    "PRAGMA user_version=1;";
static_assert(kApplicationId == 1447908178 && kSchemaVersion == 1);

// Numbers of the ring use all 64 bits; SQLite's are signed.
std::int64_t as_integer(std::uint64_t number) { return static_cast<std::int64_t>(number); }

std::uint64_t size_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::string compact_time(double now) {
  const auto seconds = static_cast<std::time_t>(now);
  std::tm parts{};
  char text[32] = "0";
  if (::gmtime_r(&seconds, &parts) != nullptr)
    std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

// Only root reads what servers and their users have done. Not for a file that is there: to close a
// descriptor of one's own would take away SQLite's locks on it.
std::optional<Problem> make_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return std::nullopt;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const int descriptor = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor < 0)
    return Problem{
        false, path + ": making the store: " + (error ? error.message() : std::strerror(errno))};
  ::close(descriptor);
  return std::nullopt;
}

}  // namespace

std::optional<Problem> EventStore::failed(int code, const std::string& doing) {
  Problem problem = database_.problem(code, doing);
  if (database_.is_open() && sqlite3_get_autocommit(database_.handle()) == 0)
    (void)database_.execute("ROLLBACK");
  return problem;
}

std::optional<Problem> EventStore::open() {
  if (auto problem = make_file(path_)) return problem;
  int code = database_.open(path_, SQLITE_OPEN_READWRITE);
  if (code != SQLITE_OK) {
    Problem problem = database_.problem(code, "opening the store");
    return problem;
  }
  std::string other;
  code = set_up(other);
  if (code == SQLITE_OK && other.empty()) {
    first_id_ = 0;
    struct stat status {};
    if (::stat(path_.c_str(), &status) == 0) {
      device_ = status.st_dev;
      inode_ = status.st_ino;
    }
    return std::nullopt;
  }
  std::optional<Problem> problem = failed(code, "opening the store");
  if (!other.empty()) problem = Problem{false, path_ + ": " + other};
  close();
  return problem;
}

void EventStore::close() { database_.close(); }

bool EventStore::is_in_place() const {
  struct stat status {};
  return ::stat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

int EventStore::set_up(std::string& other) {
  std::int64_t application = 0;
  std::int64_t version = 0;
  std::int64_t tables = 0;
  int code = database_.number("PRAGMA application_id", application);
  if (code == SQLITE_OK) code = database_.number("PRAGMA user_version", version);
  if (code == SQLITE_OK) code = database_.number("SELECT count(*) FROM sqlite_schema", tables);
  if (code != SQLITE_OK) return code;
  if (tables != 0 && application != kApplicationId) {
    other = "this is a database of another program: name another file in events.store";
    return SQLITE_OK;
  }
  if (version > kSchemaVersion) {
    other =
        "a later release of vmsrsd has written it: run that one, or name another file in "
        "events.store";
    return SQLITE_OK;
  }
  code = database_.execute(kSettings);
  if (code != SQLITE_OK) return code;
  std::string verdict = "ok";
  if (!checked_) code = database_.text("PRAGMA quick_check(1)", verdict);
  if (code == SQLITE_OK && verdict != "ok") return SQLITE_CORRUPT;
  checked_ = code == SQLITE_OK;
  if (code != SQLITE_OK || tables != 0) return code;
  code = database_.execute(kSchema);
  if (code == SQLITE_OK && first_id_ != 0) {
    Statement seed(database_, "INSERT INTO sqlite_sequence(name, seq) VALUES('events', ?)");
    seed.bind(1, first_id_);
    code = seed.step();
  }
  return code == SQLITE_OK || code == SQLITE_DONE ? database_.execute("COMMIT") : code;
}

std::string EventStore::move_aside(double now) {
  close();
  checked_ = false;
  std::string name = path_ + ".damaged-" + compact_time(now);
  for (int copy = 2; size_of(name) != 0 && copy < 1000; ++copy)
    name = path_ + ".damaged-" + compact_time(now) + "-" + std::to_string(copy);
  // Without its log first: a new file must never meet the log of the old one.
  if (size_of(path_ + "-wal") != 0 &&
      ::rename((path_ + "-wal").c_str(), (name + "-wal").c_str()) != 0)
    return "";
  ::unlink((path_ + "-shm").c_str());
  if (::rename(path_.c_str(), name.c_str()) != 0) return "";
  first_id_ = static_cast<std::int64_t>(now * 1000);  // more than one event a millisecond: never
  return name;
}

std::optional<Problem> EventStore::cursor(const std::string& boot, Source source, Cursor& cursor) {
  Statement statement(database_, "SELECT next, lost FROM cursors WHERE boot=? AND source=?");
  statement.bind(1, boot);
  statement.bind(2, static_cast<std::int64_t>(source));
  const int code = statement.step();
  cursor = {};
  if (code == SQLITE_ROW) {
    cursor = {static_cast<std::uint64_t>(statement.integer(0)),
              static_cast<std::uint64_t>(statement.integer(1))};
  }
  if (code == SQLITE_ROW || code == SQLITE_DONE) return std::nullopt;
  return failed(code, "reading how far events are stored");
}

int EventStore::insert(std::span<const Event> events, Appended& appended) {
  Statement statement(database_,
                      "INSERT INTO events(boot, source, sequence, time, type, server, slot, "
                      "document) VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING");
  Statement other(database_,
                  "SELECT document FROM events WHERE boot=? AND source=? AND sequence=?");
  for (const Event& event : events) {
    statement.reset();
    statement.bind(1, event.boot);
    statement.bind(2, static_cast<std::int64_t>(event.source));
    statement.bind(3, as_integer(event.sequence));
    statement.bind(4, event.time);
    statement.bind(5, event.type);
    event.server ? statement.bind(6, *event.server) : statement.bind_null(6);
    event.slot ? statement.bind(7, static_cast<std::int64_t>(*event.slot)) : statement.bind_null(7);
    statement.bind(8, event.document);
    if (const int code = statement.step(); code != SQLITE_DONE) return code;
    if (sqlite3_changes(database_.handle()) == 1) {
      appended.ids.push_back(sqlite3_last_insert_rowid(database_.handle()));
      continue;
    }
    appended.ids.push_back(0);
    ++appended.repeated;
    other.reset();
    other.bind(1, event.boot);
    other.bind(2, static_cast<std::int64_t>(event.source));
    other.bind(3, as_integer(event.sequence));
    if (const int code = other.step(); code != SQLITE_ROW) return code;
    if (other.text(0) != event.document) ++appended.contradicted;
  }
  return SQLITE_OK;
}

int EventStore::save(std::span<const Advance> cursors) {
  Statement statement(database_,
                      "INSERT INTO cursors(boot, source, next, lost) VALUES(?,?,?,?) "
                      "ON CONFLICT DO UPDATE SET next=excluded.next, lost=excluded.lost");
  for (const Advance& advance : cursors) {
    statement.reset();
    statement.bind(1, advance.boot);
    statement.bind(2, static_cast<std::int64_t>(advance.source));
    statement.bind(3, as_integer(advance.cursor.next));
    statement.bind(4, as_integer(advance.cursor.lost));
    if (const int code = statement.step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_OK;
}

std::optional<Problem> EventStore::append(std::span<const Event> events,
                                          std::span<const Advance> cursors, Appended& appended) {
  appended = {};
  int code = database_.is_open() ? database_.execute("BEGIN IMMEDIATE") : SQLITE_CANTOPEN;
  if (code == SQLITE_OK) code = insert(events, appended);
  if (code == SQLITE_OK) code = save(cursors);
  if (code == SQLITE_OK) code = database_.execute("COMMIT");
  if (code == SQLITE_OK) return std::nullopt;
  appended = {};
  return failed(code, "storing events");
}

int EventStore::delete_oldest(const Limits& limits, std::uint64_t& deleted, bool& more) {
  if (limits.keep_from) {
    Statement statement(database_,
                        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time < ? "
                        "ORDER BY time LIMIT ?)");
    statement.bind(1, *limits.keep_from);
    statement.bind(2, std::int64_t{kDeletedAtOnce});
    if (const int code = statement.step(); code != SQLITE_DONE) return code;
    const int changes = sqlite3_changes(database_.handle());
    deleted += static_cast<std::uint64_t>(changes);
    more = more || changes == kDeletedAtOnce;
  }
  std::int64_t pages = 0;
  std::int64_t free_pages = 0;
  std::int64_t page_bytes = 0;
  int code = database_.number("PRAGMA page_count", pages);
  if (code == SQLITE_OK) code = database_.number("PRAGMA freelist_count", free_pages);
  if (code == SQLITE_OK) code = database_.number("PRAGMA page_size", page_bytes);
  if (code != SQLITE_OK) return code;
  const auto used_bytes = static_cast<std::uint64_t>((pages - free_pages) * page_bytes);
  if (used_bytes <= limits.keep_bytes) return SQLITE_OK;
  Statement statement(database_,
                      "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?)");
  statement.bind(1, std::int64_t{kDeletedAtOnce});
  if (code = statement.step(); code != SQLITE_DONE) return code;
  const int changes = sqlite3_changes(database_.handle());
  deleted += static_cast<std::uint64_t>(changes);
  more = more || changes == kDeletedAtOnce;
  return SQLITE_OK;
}

std::optional<Problem> EventStore::retain(const Limits& limits, std::uint64_t& deleted,
                                          bool& more) {
  deleted = 0;
  more = false;
  int code = database_.is_open() ? database_.execute("BEGIN IMMEDIATE") : SQLITE_CANTOPEN;
  if (code == SQLITE_OK) code = delete_oldest(limits, deleted, more);
  if (code == SQLITE_OK) code = database_.execute("COMMIT");
  std::int64_t free_pages = 0;
  if (code == SQLITE_OK) code = database_.number("PRAGMA freelist_count", free_pages);
  if (code == SQLITE_OK && free_pages > kFreePagesKept) {
    code = database_.execute("PRAGMA incremental_vacuum(256)");
    more = more || free_pages - 256 > kFreePagesKept;
  }
  if (code == SQLITE_OK) return std::nullopt;
  return failed(code, "deleting old events");
}

std::optional<Problem> EventStore::count(std::uint64_t& events) {
  std::int64_t number = 0;
  const int code = database_.number("SELECT count(*) FROM events", number);
  events = static_cast<std::uint64_t>(number);
  if (code == SQLITE_OK) return std::nullopt;
  return failed(code, "counting events");
}

std::uint64_t EventStore::bytes_on_disk() const { return size_of(path_) + size_of(path_ + "-wal"); }

}  // namespace vmsrs::store
