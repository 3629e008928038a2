// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vmsrs::store {

// Who numbered an event. The values stand in the file: never changed, never used again.
enum class Source : std::int64_t {
  kEngine = 0,  // the ring of the recovery engine
  kGuest = 1,   // the hypervisor's list of ends of its guest
  kDaemon = 2,  // vmsrsd itself
};

// A row. (boot, source, sequence) is its key for ever.
struct Event {
  std::string boot;  // id of the hypervisor's run
  Source source = Source::kEngine;
  std::uint64_t sequence = 0;
  double time = 0;  // Unix seconds
  std::string type;
  std::optional<std::string> server;
  std::optional<std::uint32_t> slot;
  std::string document;  // a JSON object with all that the columns above do not hold

  bool operator==(const Event&) const = default;
};

struct StoredEvent {
  std::int64_t id = 0;  // rises in the order of storing; never used again
  Event event;
};

// How far a source has been taken over into the store: kept in the transaction that stores its
// events.
struct Cursor {
  std::uint64_t next = 0;  // the number to go on with
  std::uint64_t lost = 0;  // events that the source has dropped, as far as told by events `lost`
};

}  // namespace vmsrs::store
