// SPDX-License-Identifier: Apache-2.0
#include "hosted/peer.hpp"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace vmsrs::hosted {
namespace {

// The state letter of proc(5)'s stat, after the name, which may hold anything; 0: no such thread.
char state_of_thread(pid_t process_id, std::uint32_t thread_id) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task/%u/stat", process_id, thread_id);
  FILE* const file = fopen(path, "re");
  if (file == nullptr) return 0;
  char line[256] = {};
  const std::size_t length = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  const auto* const end = static_cast<const char*>(memrchr(line, ')', length));
  return end != nullptr && end + 2 < line + length ? end[2] : '\0';
}

}  // namespace

Peer::Peer(int socket) : socket_(socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
  process_id_ = credentials.pid;
  account_ = credentials.uid;
  if (process_id_ > 0) process_ = static_cast<int>(syscall(SYS_pidfd_open, process_id_, 0));
}

Peer::~Peer() {
  if (process_ >= 0) close(process_);
  close(socket_);
}

Peer::Receipt Peer::receive(vmsrs_hosted_message& message, std::string& why) const {
  iovec part = {&message, sizeof message};
  msghdr header{};  // without room for descriptors: the kernel closes what was sent, and says so
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const ssize_t count = recvmsg(socket_, &header, MSG_DONTWAIT | MSG_TRUNC);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? Receipt::kNothing : Receipt::kEnd;
  if (count == 0 && has_ended()) return Receipt::kEnd;
  if ((header.msg_flags & MSG_CTRUNC) != 0)
    why = "it sent descriptors";
  else if (count != sizeof message)
    why = "a message of " + std::to_string(count) + " bytes";
  else if (message.magic != VMSRS_HOSTED_MAGIC)
    why = "a message without the magic number";
  else if (message.type == 0 || message.type >= VMSRS_HOSTED_TYPE_COUNT)
    why = "a message of unknown type " + std::to_string(message.type);
  else if (message.status != 0 || message.reserved != 0)
    why = "a message with reserved bits";
  else
    return Receipt::kMessage;
  return Receipt::kGarbage;
}

bool Peer::answer(const vmsrs_hosted_message& message, int first, int second) const {
  vmsrs_hosted_message copy = message;
  iovec part = {&copy, sizeof copy};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const int descriptors[2] = {first, second};
  const std::size_t bytes = sizeof(int) * static_cast<std::size_t>((first >= 0) + (second >= 0));
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)] = {};
  if (bytes > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), descriptors, bytes);
  }
  return sendmsg(socket_, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof copy;
}

bool Peer::has_ended() const {
  pollfd wanted[2] = {{socket_, POLLRDHUP, 0}, {process_, POLLIN, 0}};
  return poll(wanted, 2, 0) > 0;
}

bool Peer::thread_has_ended(std::uint32_t thread_id) const {
  if (thread_id == static_cast<std::uint32_t>(process_id_)) {
    // The first thread stays as a zombie while others run on.
    const char state = state_of_thread(process_id_, thread_id);
    return state == 'Z' || state == 'X';
  }
  return syscall(SYS_tgkill, process_id_, thread_id, 0) != 0 && errno == ESRCH;
}

}  // namespace vmsrs::hosted
