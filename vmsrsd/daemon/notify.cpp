// SPDX-License-Identifier: Apache-2.0
#include "daemon/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace vmsrs::daemon {

void notify_service_manager(const std::string& state) {
  const char* variable = std::getenv("NOTIFY_SOCKET");
  if (variable == nullptr) return;
  const std::string path = variable;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() < 2 || path.size() >= sizeof(address.sun_path)) return;
  path.copy(address.sun_path, path.size());
  if (path.front() == '@') address.sun_path[0] = '\0';  // the abstract name space
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  // A service manager that does not listen is no reason to stop.
  (void)::sendto(descriptor, state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), length);
  ::close(descriptor);
}

std::string reloading_state() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto microseconds = now.tv_sec * 1000000 + now.tv_nsec / 1000;
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds);
}

namespace {

std::uint64_t number_in_environment(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

// The service manager names the process that it means; a child of it is not meant.
bool is_meant(const char* variable) {
  return number_in_environment(variable) == static_cast<std::uint64_t>(::getpid());
}

}  // namespace

std::chrono::milliseconds watchdog_interval() {
  if (std::getenv("WATCHDOG_PID") != nullptr && !is_meant("WATCHDOG_PID")) return {};
  return std::chrono::milliseconds(number_in_environment("WATCHDOG_USEC") / 1000);
}

std::map<std::string, int> inherited_sockets(const std::vector<std::string>& names) {
  constexpr int kFirst = 3;
  std::map<std::string, int> sockets;
  if (!is_meant("LISTEN_PID")) return sockets;
  const char* text = std::getenv("LISTEN_FDNAMES");
  std::istringstream given(text == nullptr ? "" : text);
  const auto count = static_cast<int>(number_in_environment("LISTEN_FDS"));
  for (int i = 0; i < count; ++i) {
    std::string name;
    std::getline(given, name, ':');
    if (std::find(names.begin(), names.end(), name) == names.end() ||
        !sockets.emplace(name, kFirst + i).second)
      throw std::runtime_error("the service manager hands over a socket called \"" + name +
                               "\": FileDescriptorName= is to be one of api, api-read-only, "
                               "api-tls and metrics, each once");
  }
  return sockets;
}

}  // namespace vmsrs::daemon
