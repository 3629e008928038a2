// SPDX-License-Identifier: Apache-2.0
#include "hosted/link.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <initializer_list>

namespace vmsrs::hosted {
namespace {

constexpr time_t kPatienceSeconds = 10;
constexpr std::size_t kMostDescriptors = 2;
constexpr Link kNoLink = {-1, -1, -1, -1, 0, nullptr, nullptr, nullptr, 0};

class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// read() takes the pipe's one byte, write() puts it back. The kernel keeps it, so a program that
// writes over this process's memory cannot leave it taken. It wakes one reader at a time; an
// eventfd's it would wake all (Linux, fs/pipe.c and fs/eventfd.c).
bool take_turn(const Link& link) {
  char token;
  ssize_t count;
  do count = read(link.turn, &token, sizeof token);
  while (count < 0 && errno == EINTR);
  return count == sizeof token;
}
bool end_turn(const Link& link) {
  const char token = 0;
  return write(link.turn_back, &token, sizeof token) == sizeof token;
}
bool make_turn(Link& link) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  link.turn = ends[0];
  link.turn_back = ends[1];
  return end_turn(link);
}

void take_descriptors(msghdr& header, int (&descriptors)[kMostDescriptors]) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && i < kMostDescriptors; ++i)
      memcpy(&descriptors[i], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
  }
}

bool exchange(int socket, vmsrs_hosted_message& message, int (&descriptors)[kMostDescriptors]) {
  for (int& descriptor : descriptors) descriptor = -1;
  const std::uint32_t type = message.type;
  if (send(socket, &message, sizeof message, MSG_NOSIGNAL) != sizeof message) return false;
  iovec part = {&message, sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t count;
  do count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count != sizeof message) return false;
  take_descriptors(header, descriptors);
  return message.magic == VMSRS_HOSTED_MAGIC && message.type == type;
}

int connect_to(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  const timeval patience = {kPatienceSeconds, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  const int error = errno;
  close(socket);
  errno = error;
  return -1;
}

vmsrs_hosted_message question(vmsrs_hosted_type type, std::uint64_t a, std::uint64_t b) {
  return {VMSRS_HOSTED_MAGIC, type, 0, VMSRS_ABI_VERSION, 0, a, b, 0};
}

// HELLO and MAPPED. nullptr, or what went wrong.
const char* greet(Link& link, std::uint32_t lanes) {
  vmsrs_hosted_message hello =
      question(VMSRS_HOSTED_HELLO, lanes, static_cast<std::uint64_t>(getpid()));
  int descriptors[kMostDescriptors];
  if (!exchange(link.socket, hello, descriptors))
    return "no answer: it may serve its limit already";
  const int area = descriptors[0];
  link.doorbell = descriptors[1];
  if (hello.status == VMSRS_BAD_VERSION) return "another ABI version: install matching releases";
  if (hello.status == VMSRS_NO_SLOT) return "it serves as many clients as it may";
  if (hello.status == VMSRS_NO_STORAGE) return "this account has all the memory that it may have";
  struct stat status {};
  const bool good = hello.status == VMSRS_OK && area >= 0 && link.doorbell >= 0 && hello.a > 0 &&
                    hello.a <= VMSRS_MAX_LANES && hello.b == VMSRS_AREA_BYTES(hello.a) &&
                    fstat(area, &status) == 0 &&
                    static_cast<std::uint64_t>(status.st_size) == hello.b;
  void* base = MAP_FAILED;
  if (good) base = mmap(nullptr, hello.b, PROT_READ | PROT_WRITE, MAP_SHARED, area, 0);
  if (area >= 0) close(area);
  if (base == MAP_FAILED) return good ? "no memory for the call area" : "an answer that is none";
  madvise(base, hello.b, MADV_DONTFORK);
  madvise(base, hello.b, MADV_DONTDUMP);
  link.lane_count = static_cast<std::uint32_t>(hello.a);
  link.area_bytes = hello.b;
  link.head = static_cast<vmsrs_area_head*>(base);
  auto* const bytes = static_cast<std::byte*>(base);
  link.lanes = reinterpret_cast<vmsrs_lane*>(bytes + VMSRS_AREA_LANES_OFFSET);
  link.payloads = bytes + VMSRS_AREA_PAYLOADS_OFFSET(hello.a);
  vmsrs_hosted_message mapped =
      question(VMSRS_HOSTED_MAPPED, reinterpret_cast<std::uint64_t>(base), 0);
  int none[kMostDescriptors];
  return exchange(link.socket, mapped, none) && mapped.status == VMSRS_OK
             ? nullptr
             : "the call area was refused";
}

}  // namespace

const char* default_socket_path() {
  const char* const path = getenv(VMSRS_HOSTED_SOCKET_VARIABLE);
  return path != nullptr && path[0] != '\0' ? path : VMSRS_HOSTED_SOCKET;
}

bool open_link(Link& link, const char* path, std::uint32_t lanes, char* problem,
               std::size_t problem_bytes) {
  link = kNoLink;
  link.socket = connect_to(path);
  if (link.socket < 0) {
    snprintf(problem, problem_bytes, "%s: %s", path, strerrordesc_np(errno));
    return false;
  }
  const char* what = greet(link, lanes);
  if (what == nullptr) {
    if (make_turn(link)) return true;
    what = "no descriptor is free";
  }
  snprintf(problem, problem_bytes, "%s: %s", path, what);
  close_link(link);
  return false;
}

void close_link(Link& link) {
  for (const int descriptor : {link.socket, link.doorbell, link.turn, link.turn_back})
    if (descriptor >= 0) close(descriptor);
  if (link.head != nullptr) munmap(link.head, link.area_bytes);
  link = kNoLink;
}

vmsrs_status ask(const Link& link, vmsrs_hosted_message& message, int* descriptor) {
  const AllSignalsBlocked blocked;
  const int saved_errno = errno;
  message.magic = VMSRS_HOSTED_MAGIC;
  message.abi_version = VMSRS_ABI_VERSION;
  message.status = message.reserved = 0;
  int descriptors[kMostDescriptors] = {-1, -1};
  bool answered = false;
  if (take_turn(link)) {
    // The other side looks at the socket when it is told to, or when it has nothing else to do.
    __atomic_store_n(&link.head->mail, 1u, __ATOMIC_RELEASE);
    answered = exchange(link.socket, message, descriptors);
    answered = end_turn(link) && answered;
  }
  for (int& received : descriptors) {
    if (descriptor != nullptr && &received == &descriptors[0])
      *descriptor = received;
    else if (received >= 0)
      close(received);
  }
  // Half an exchange leaves an answer in the socket that somebody else would take for his.
  if (!answered) shutdown(link.socket, SHUT_RDWR);
  errno = saved_errno;
  return answered && message.status < VMSRS_STATUS_COUNT ? static_cast<vmsrs_status>(message.status)
                                                         : VMSRS_NOT_ATTACHED;
}

bool link_is_up(const Link& link) {
  pollfd wanted = {link.socket, POLLRDHUP, 0};
  const int saved_errno = errno;
  const bool up = poll(&wanted, 1, 0) == 0;
  errno = saved_errno;
  return up;
}

}  // namespace vmsrs::hosted
