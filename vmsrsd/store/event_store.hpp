// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/database.hpp"
#include "store/event.hpp"

// The events of this host in a file of SQLite: write-ahead log, synchronous=FULL, so that what
// append() has answered for survives a loss of power. docs/events.md describes the tables.
namespace vmsrs::store {

struct Limits {
  std::uint64_t keep_bytes = 0;     // oldest events beyond this go
  std::optional<double> keep_from;  // events of an earlier Unix time go
};

struct Appended {
  std::vector<std::int64_t> ids;  // of each event; 0 for one that was there already
  std::size_t repeated = 0;       // events whose key was there: none, unless something is wrong
  std::size_t contradicted = 0;   // of these, with another content
};

// The side that writes. One thread at a time. After a Problem nothing of the call has been stored.
class EventStore {
 public:
  explicit EventStore(std::string path) : path_(std::move(path)) {}

  // Makes file and folder if they are missing. A file of another program or of a later release is a
  // problem, not damage.
  [[nodiscard]] std::optional<Problem> open();
  void close();
  [[nodiscard]] bool is_open() const { return database_.is_open(); }
  // False: somebody has removed or replaced the file that was opened.
  [[nodiscard]] bool is_in_place() const;
  // A damaged file gets the name that is returned (empty: it could not be renamed); the next one's
  // ids begin above all that a store can have given before `now`.
  [[nodiscard]] std::string move_aside(double now);

  [[nodiscard]] std::optional<Problem> cursor(const std::string& boot, Source source,
                                              Cursor& cursor);
  // All of `events` and the cursors, or nothing. Safe on the disk when it returns no problem.
  struct Advance {
    std::string boot;
    Source source;
    Cursor cursor;
  };
  [[nodiscard]] std::optional<Problem> append(std::span<const Event> events,
                                              std::span<const Advance> cursors, Appended& appended);
  // Deletes what is beyond the limits, a bounded piece of it: `more` says that some is left.
  [[nodiscard]] std::optional<Problem> retain(const Limits& limits, std::uint64_t& deleted,
                                              bool& more);
  [[nodiscard]] std::optional<Problem> count(std::uint64_t& events);
  // What file and log take on the disk.
  [[nodiscard]] std::uint64_t bytes_on_disk() const;

 private:
  [[nodiscard]] int set_up(std::string& other);
  [[nodiscard]] int insert(std::span<const Event> events, Appended& appended);
  [[nodiscard]] int save(std::span<const Advance> cursors);
  [[nodiscard]] int delete_oldest(const Limits& limits, std::uint64_t& deleted, bool& more);
  [[nodiscard]] std::optional<Problem> failed(int code, const std::string& doing);

  std::string path_;
  Database database_;
  std::int64_t first_id_ = 0;             // of a file that takes the place of a damaged one
  bool checked_ = false;                  // the file has been read whole
  std::uint64_t device_ = 0, inode_ = 0;  // of the file that is open
};

}  // namespace vmsrs::store
