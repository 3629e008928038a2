// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/database.hpp"
#include "store/event.hpp"

namespace vmsrs::store {

struct Filter {
  std::optional<double> since;     // Unix seconds, this time included
  std::optional<double> until;     // this time not included
  std::vector<std::string> types;  // any of these; empty = all
  std::optional<std::string> server;
  std::optional<std::uint32_t> slot;
};

// A piece of the list, in the order of storing. `before` and `after` are ids.
struct Page {
  std::optional<std::int64_t> before;  // the last ones with a smaller id
  std::optional<std::int64_t> after;   // the first ones with a greater id; neither: the last ones
  std::size_t limit = 100;
};

struct Found {
  std::vector<StoredEvent> events;
  bool more_before = false;  // there are some with smaller ids
  bool more_after = false;
};

// The side that reads: every call has a connection of its own, which sees whole transactions and
// keeps nobody from writing. Any thread.
class EventReader {
 public:
  explicit EventReader(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] std::optional<Problem> list(const Filter& filter, const Page& page,
                                            Found& found) const;
  [[nodiscard]] std::optional<Problem> get(std::int64_t id,
                                           std::optional<StoredEvent>& event) const;
  // The greatest id; 0 if there are no events.
  [[nodiscard]] std::optional<Problem> newest(std::int64_t& id) const;

 private:
  std::string path_;
};

}  // namespace vmsrs::store
