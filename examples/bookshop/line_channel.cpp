// SPDX-License-Identifier: Apache-2.0
#include "line_channel.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <utility>

namespace bookshop {

namespace {
constexpr std::chrono::seconds kSendTime{10};
constexpr std::size_t kMaxReplyBytes = 512;
}  // namespace

LineChannel::~LineChannel() { close(socket_); }

LineChannel::Wait LineChannel::wait(short events, Clock::time_point deadline) const {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Wait::too_late;
    pollfd descriptor{socket_, events, 0};
    const int ready = poll(&descriptor, 1, static_cast<int>(std::min<long long>(left, 60'000)));
    if (ready > 0) return Wait::ready;
    if (ready < 0 && errno != EINTR) return Wait::broken;
  }
}

LineChannel::Read LineChannel::read(std::string_view& line, Clock::time_point deadline) {
  for (;;) {
    char* const first = buffer_.data() + begin_;
    char* const last = buffer_.data() + end_;
    if (char* const newline = std::find(first, last, '\n'); newline != last) {
      begin_ += static_cast<std::size_t>(newline - first) + 1;
      if (std::exchange(skipping_, false)) return Read::too_long;
      line = {first, static_cast<std::size_t>(newline - first)};
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      return Read::line;
    }
    std::memmove(buffer_.data(), first, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == buffer_.size()) {
      skipping_ = true;
      end_ = 0;
    }
    switch (wait(POLLIN, deadline)) {
      case Wait::too_late:
        return Read::too_late;
      case Wait::broken:
        return Read::closed;
      case Wait::ready:
        break;
    }
    const ssize_t count = recv(socket_, buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
    if (count > 0)
      end_ += static_cast<std::size_t>(count);
    else if (count == 0 || (errno != EINTR && errno != EAGAIN))
      return Read::closed;
  }
}

bool LineChannel::send(std::string_view text) {
  const auto deadline = Clock::now() + kSendTime;
  while (!text.empty()) {
    const ssize_t count = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0)
      text.remove_prefix(static_cast<std::size_t>(count));
    else if (errno == EAGAIN || errno == EINTR) {
      if (wait(POLLOUT, deadline) != Wait::ready) return false;
    } else {
      return false;
    }
  }
  return true;
}

bool LineChannel::reply(const char* format, ...) {
  char text[kMaxReplyBytes];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  std::size_t bytes = std::min(static_cast<std::size_t>(std::max(length, 0)), sizeof text - 2);
  text[bytes++] = '\n';
  return send({text, bytes});
}

}  // namespace bookshop
