// SPDX-License-Identifier: Apache-2.0
#include "messages.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace matrix {
namespace {

struct Address {
  sockaddr_un name{};
  socklen_t bytes;
};

Address address_of(const std::string& name) {
  Address address;
  address.name.sun_family = AF_UNIX;
  std::memcpy(address.name.sun_path + 1, name.data(), name.size());  // its first byte stays 0
  address.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

int new_socket() {
  const int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (made < 0) {
    std::perror("matrix: socket");
    std::exit(1);
  }
  return made;
}

}  // namespace

int listen_at(const std::string& name) {
  const int listener = new_socket();
  const Address address = address_of(name);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address.name), address.bytes) != 0 ||
      listen(listener, 16) != 0) {
    std::perror("matrix: bind");
    std::exit(1);
  }
  return listener;
}

int connect_to(const std::string& name) {
  const int made = new_socket();
  const Address address = address_of(name);
  if (connect(made, reinterpret_cast<const sockaddr*>(&address.name), address.bytes) == 0)
    return made;
  close(made);
  return -1;
}

bool send_message(int connection, const void* message, std::size_t bytes) {
  return send(connection, message, bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
}

bool receive_message(int connection, void* message, std::size_t bytes) {
  ssize_t received;
  do received = recv(connection, message, bytes, 0);
  while (received < 0 && errno == EINTR);
  return received == static_cast<ssize_t>(bytes);
}

void set_patience(int connection, unsigned ms) {
  const timeval time = {static_cast<time_t>(ms / 1000), static_cast<suseconds_t>(ms % 1000 * 1000)};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

}  // namespace matrix
