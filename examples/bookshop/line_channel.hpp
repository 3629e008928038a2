// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>

namespace bookshop {

// Lines over a connected socket, with limits on size and time. Owns the socket. Allocates nothing:
// it is used inside user scopes.
class LineChannel {
 public:
  static constexpr std::size_t kMaxLineBytes = 256;  // of a request, newline included
  using Clock = std::chrono::steady_clock;

  explicit LineChannel(int socket) : socket_(socket) {}
  ~LineChannel();
  LineChannel(const LineChannel&) = delete;
  LineChannel& operator=(const LineChannel&) = delete;

  enum class Read { line, too_long, too_late, closed };
  // The next line without its end; valid until the next call. After `too_long` the rest of that
  // line has been skipped and reading can go on.
  Read read(std::string_view& line, Clock::time_point deadline);

  // Sends it all, or gives up after 10 seconds. False: the connection is of no more use.
  bool send(std::string_view text);
  [[gnu::format(printf, 2, 3)]] bool reply(const char* format, ...);  // one line; adds its end

 private:
  enum class Wait { ready, too_late, broken };
  Wait wait(short events, Clock::time_point deadline) const;

  int socket_;
  std::array<char, kMaxLineBytes> buffer_{};
  std::size_t begin_ = 0;  // of what was received and not yet returned
  std::size_t end_ = 0;
  bool skipping_ = false;
};

}  // namespace bookshop
