// SPDX-License-Identifier: Apache-2.0
#include "hosted/listener.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace vmsrs::hosted {
namespace {

constexpr int kFirstInherited = 3;  // sd_listen_fds(3)
constexpr int kWaiting = 128;

int number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  return text != nullptr ? std::atoi(text) : 0;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

bool somebody_serves(const std::string& path) {
  const int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  const bool served =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(probe);
  return served;
}

}  // namespace

Listener::Listener(const std::string& path, unsigned mode) {
  const int count = number_in("LISTEN_FDS");
  if (count > 0 && number_in("LISTEN_PID") == getpid())
    inherit(count);
  else
    make(path, mode);
}

void Listener::inherit(int count) {
  int type = 0, listens = 0;
  socklen_t length = sizeof type;
  const bool good =
      count == 1 && getsockopt(kFirstInherited, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
      getsockopt(kFirstInherited, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 &&
      type == SOCK_SEQPACKET && listens != 0;
  if (!good) {
    problem_ = "the service manager gave " + std::to_string(count) +
               " descriptors: expected one listening socket (ListenSequentialPacket=)";
    return;
  }
  fcntl(kFirstInherited, F_SETFD, FD_CLOEXEC);
  descriptor_ = kFirstInherited;
}

void Listener::make(const std::string& path, unsigned mode) {
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      problem_ = "--socket " + path + ": there is something else at this path";
      return;
    }
    if (somebody_serves(path)) {
      problem_ = "--socket " + path + ": another process serves it";
      return;
    }
  }
  // Whoever sees the path can connect: it gets its name when all is ready, in place of a stale one.
  const std::string unready = path + ".new";
  unlink(unready.c_str());
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(unready);
  if (socket < 0 ||
      bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(unready.c_str(), mode) != 0 || listen(socket, kWaiting) != 0 ||
      rename(unready.c_str(), path.c_str()) != 0) {
    problem_ = "--socket " + path + ": " + strerrordesc_np(errno);
    if (socket >= 0) close(socket);
    return;
  }
  descriptor_ = socket;
  made_path_ = path;
}

Listener::~Listener() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!made_path_.empty()) unlink(made_path_.c_str());
}

}  // namespace vmsrs::hosted
