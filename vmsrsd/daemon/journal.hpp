// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "daemon/event_documents.hpp"

namespace vmsrs::daemon {

// Is what the descriptor leads to the stream that `journal_stream` names, the value of
// $JOURNAL_STREAM (systemd.exec(5): device:inode)? nullptr: no.
[[nodiscard]] bool is_journal(int descriptor, const char* journal_stream);

// Events in systemd's journal, with fields of their own (systemd's "Journal Native Protocol"): a
// datagram each, to a socket of journald's. Any thread.
class Journal {
 public:
  static constexpr const char* kSocket = "/run/systemd/journal/socket";

  explicit Journal(std::string socket = kSocket);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // False: journald does not take it, or not now; it is never waited for.
  [[nodiscard]] bool send(const Json& event) const;

 private:
  std::string socket_;
  int descriptor_;
};

}  // namespace vmsrs::daemon
