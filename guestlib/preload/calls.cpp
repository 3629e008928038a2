// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "connections.hpp"
#include "next.hpp"
#include "users.hpp"

// The C library's functions by which a server meets its clients.
using namespace vmsrs::preload;

namespace {

int accepted(int descriptor) {
  if (descriptor >= 0) note_accepted(descriptor);
  return descriptor;
}

bool waits(int flags) { return (flags & MSG_DONTWAIT) == 0; }

bool asks_for_input(const pollfd* list, nfds_t count) {
  if (policy() != Users::kRequests || list == nullptr) return false;
  for (nfds_t i = 0; i < count; ++i)
    if ((list[i].events & POLLIN) != 0 && is_input_of_users(list[i].fd)) return true;
  return false;
}
bool asks_for_input(int end, const fd_set* set) {
  if (policy() != Users::kRequests || set == nullptr) return false;
  for (int i = 0; i < end && i < FD_SETSIZE; ++i)
    if (FD_ISSET(i, set) && is_input_of_users(i)) return true;
  return false;
}

template <typename Read>
ssize_t read_as_user(int descriptor, bool may_wait, Read read) {
  before_read(descriptor, may_wait);
  const ssize_t count = read();
  const int error = errno;
  after_read(descriptor, count);
  errno = error;
  return count;
}

}  // namespace

extern "C" {

// What they write to a region: memory_functions.cpp.
ssize_t __wrap_read(int, void*, size_t);
ssize_t __wrap_recv(int, void*, size_t, int);
[[noreturn]] void __chk_fail();

// ---- Connections

int listen(int descriptor, int backlog) noexcept {
  const int result = VMSRS_NEXT(listen)(descriptor, backlog);
  if (result == 0) note_listening(descriptor);
  return result;
}
int accept(int listening, sockaddr* address, socklen_t* bytes) {
  before_wait();
  tell_left_out();
  return accepted(VMSRS_NEXT(accept)(listening, address, bytes));
}
int accept4(int listening, sockaddr* address, socklen_t* bytes, int flags) {
  before_wait();
  tell_left_out();
  return accepted(VMSRS_NEXT(accept4)(listening, address, bytes, flags));
}
int connect(int descriptor, const sockaddr* address, socklen_t bytes) {
  forget_connection(descriptor);
  return VMSRS_NEXT(connect)(descriptor, address, bytes);
}
int close(int descriptor) {
  if (is_librarys(descriptor)) {
    errno = EBADF;
    return -1;
  }
  forget_connection(descriptor);
  return VMSRS_NEXT(close)(descriptor);
}
int close_range(unsigned first, unsigned last, int flags) noexcept {
  for (int kept = first_of_library(first, last); kept >= 0; kept = first_of_library(first, last)) {
    const auto number = static_cast<unsigned>(kept);
    if (number > first && VMSRS_NEXT(close_range)(first, number - 1, flags) != 0) return -1;
    first = number + 1;
    if (number == last) return 0;
  }
  return VMSRS_NEXT(close_range)(first, last, flags);
}
void closefrom(int first) noexcept {
  if (close_range(static_cast<unsigned>(first < 0 ? 0 : first), ~0u, 0) != 0)
    VMSRS_NEXT(closefrom)(first);
}
int dup2(int from, int to) noexcept {
  if (from != to) forget_connection(to);
  return VMSRS_NEXT(dup2)(from, to);
}
FILE* fdopen(int descriptor, const char* mode) noexcept {
  note_use(descriptor);
  return VMSRS_NEXT(fdopen)(descriptor, mode);
}

// ---- Requests

ssize_t read(int descriptor, void* to, size_t bytes) {
  return read_as_user(descriptor, true, [&] { return __wrap_read(descriptor, to, bytes); });
}
ssize_t recv(int descriptor, void* to, size_t bytes, int flags) {
  return read_as_user(descriptor, waits(flags),
                      [&] { return __wrap_recv(descriptor, to, bytes, flags); });
}
ssize_t recvfrom(int descriptor, void* to, size_t bytes, int flags, sockaddr* address,
                 socklen_t* address_bytes) {
  return read_as_user(descriptor, waits(flags), [&] {
    return VMSRS_NEXT(recvfrom)(descriptor, to, bytes, flags, address, address_bytes);
  });
}
ssize_t recvmsg(int descriptor, msghdr* message, int flags) {
  return read_as_user(descriptor, waits(flags),
                      [&] { return VMSRS_NEXT(recvmsg)(descriptor, message, flags); });
}
ssize_t readv(int descriptor, const iovec* pieces, int count) {
  return read_as_user(descriptor, true,
                      [&] { return VMSRS_NEXT(readv)(descriptor, pieces, count); });
}

ssize_t __read_chk(int descriptor, void* to, size_t bytes, size_t size) {
  if (bytes > size) __chk_fail();
  return read(descriptor, to, bytes);
}
ssize_t __recv_chk(int descriptor, void* to, size_t bytes, size_t size, int flags) {
  if (bytes > size) __chk_fail();
  return recv(descriptor, to, bytes, flags);
}
ssize_t __recvfrom_chk(int descriptor, void* to, size_t bytes, size_t size, int flags,
                       sockaddr* address, socklen_t* address_bytes) {
  if (bytes > size) __chk_fail();
  return recvfrom(descriptor, to, bytes, flags, address, address_bytes);
}

// ---- Waiting

int poll(pollfd* list, nfds_t count, int timeout) {
  if (asks_for_input(list, count)) before_wait();
  return VMSRS_NEXT(poll)(list, count, timeout);
}
int ppoll(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (asks_for_input(list, count)) before_wait();
  return VMSRS_NEXT(ppoll)(list, count, timeout, mask);
}
int __poll_chk(pollfd* list, nfds_t count, int timeout, size_t size) {
  if (size / sizeof *list < count) __chk_fail();
  return poll(list, count, timeout);
}
int __ppoll_chk(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask,
                size_t size) {
  if (size / sizeof *list < count) __chk_fail();
  return ppoll(list, count, timeout, mask);
}
int select(int end, fd_set* input, fd_set* output, fd_set* urgent, timeval* timeout) {
  if (asks_for_input(end, input)) before_wait();
  return VMSRS_NEXT(select)(end, input, output, urgent, timeout);
}
int pselect(int end, fd_set* input, fd_set* output, fd_set* urgent, const timespec* timeout,
            const sigset_t* mask) {
  if (asks_for_input(end, input)) before_wait();
  return VMSRS_NEXT(pselect)(end, input, output, urgent, timeout, mask);
}
int epoll_wait(int poller, epoll_event* events, int most, int timeout) {
  before_wait();
  return VMSRS_NEXT(epoll_wait)(poller, events, most, timeout);
}
int epoll_pwait(int poller, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  before_wait();
  return VMSRS_NEXT(epoll_pwait)(poller, events, most, timeout, mask);
}

}  // extern "C"
