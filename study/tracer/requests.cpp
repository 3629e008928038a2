// SPDX-License-Identifier: Apache-2.0
#include "requests.hpp"

#include <sys/syscall.h>

namespace vmsrs::study {
namespace {

bool waits(std::int64_t number) {
  switch (number) {
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_accept:
    case SYS_accept4:
      return true;
    default:
      return false;
  }
}

bool receives(std::int64_t number) {
  switch (number) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
      return true;
    default:
      return false;
  }
}

bool sends(std::int64_t number) {
  switch (number) {
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendfile:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Requests::leave(AtWork& thread) {
  const AtWork left = thread;
  thread = {};
  if (left.request == 0) return;
  const auto found = connections_.find(left.connection);
  const bool same = found != connections_.end() && found->second.request == left.request;
  if (same && !found->second.answered) return;  // it goes on when more of it arrives
  if (same) found->second.request = 0;
  ++finished_;
  on_finished(left.request, left);
}

void Requests::enter(AtWork& thread, unsigned thread_number, int file,
                     const Connection& connection) const {
  thread.connection = file;
  thread.request = connection.request;
  thread.user = user_is_ == UserIs::request      ? connection.request
                : user_is_ == UserIs::connection ? connection.number
                                                 : thread_number + 1;
}

void Requests::before_call(AtWork& thread, std::int64_t number, std::uint64_t first_argument) {
  if (waits(number)) leave(thread);
  if (number == SYS_close) {
    const auto file = static_cast<int>(first_argument);
    const bool own = thread.connection == file;
    if (own && thread.request != 0) {
      connections_[file].answered = true;  // nothing more will come of it
      leave(thread);
    }
    connections_.erase(file);
  }
}

void Requests::after_call(AtWork& thread, unsigned thread_number, std::int64_t number,
                          std::uint64_t first_argument, std::int64_t result) {
  if ((number == SYS_accept || number == SYS_accept4) && result >= 0) {
    connections_[static_cast<int>(result)] = {.number = ++accepted_};
    return;
  }
  if (result <= 0 || (!receives(number) && !sends(number))) return;
  const auto file = static_cast<int>(first_argument);
  const auto found = connections_.find(file);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (sends(number)) {
    if (connection.request == 0) return;
    if (thread.request != connection.request) {
      leave(thread);
      enter(thread, thread_number, file, connection);
    }
    connection.answered = true;
    return;
  }
  if (connection.answered || connection.request == 0) {
    if (thread.request != 0) leave(thread);
    connection.request = ++begun_;
    connection.answered = false;
  } else if (thread.request != connection.request && thread.request != 0) {
    leave(thread);
  }
  enter(thread, thread_number, file, connection);
}

}  // namespace vmsrs::study
