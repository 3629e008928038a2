// SPDX-License-Identifier: Apache-2.0
#include "api/listener.hpp"

#include <fcntl.h>
#include <grp.h>
#include <httplib.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <vector>

#include "api/reception.hpp"
#include "api/tls.hpp"

namespace vmsrs::api {

// The HTTP library, without its own way of taking connections.
class Router final : public httplib::Server {
 public:
  // The library takes a server without a socket for one that is being stopped, and ends its
  // streams.
  Router() { svr_sock_ = -2; }
  void handle(httplib::Stream& stream) {
    bool closed = false;
    (void)process_request(stream, true, closed, nullptr);
  }
};

namespace {

constexpr const char* kUsualGroup = "vmsrs";

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }
[[noreturn]] void fail_with_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

bool somebody_listens(const std::string& path) {
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) fail_with_errno("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int result =
      ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  ::close(descriptor);
  return result == 0 || error == EAGAIN;  // EAGAIN: its queue is full
}

// Leaves nothing at `path`, but for what is not a socket or is in use: then throws.
void make_room(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_with_errno(path);
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error) fail(path + ": cannot make its directory: " + error.message());
    return;
  }
  if (!S_ISSOCK(status.st_mode)) fail(path + ": there is something that is no socket");
  if (somebody_listens(path)) {
    fail(path + ": another daemon answers there: stop it first, or choose another api.socket");
  }
  if (::unlink(path.c_str()) != 0) fail_with_errno(path);
}

// Nothing: the socket keeps its group.
std::optional<gid_t> group_number(const std::string& group) {
  const std::string& name = group.empty() ? kUsualGroup : group;
  if (const struct group* entry = ::getgrnam(name.c_str())) return entry->gr_gid;
  if (group.empty()) return std::nullopt;
  const bool digits =
      group.size() <= 9 && group.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) fail("api.socket_group: there is no group \"" + group + "\"");
  return static_cast<gid_t>(std::stoul(group));
}

int make_unix_socket(const std::string& path, std::uint32_t mode, std::optional<gid_t> group) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) fail(path + ": longer than a socket's path may be");
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  make_room(path);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) fail_with_errno("socket");
  const mode_t previous = ::umask(0177);  // nobody else before mode and group are as wanted
  const bool bound =
      ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  ::umask(previous);
  if (!bound) fail_with_errno(path + ": cannot listen there");
  if (group && ::chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0 &&
      (errno != EPERM || *group != ::getegid()))
    fail_with_errno(path + ": cannot give it to the group " + std::to_string(*group) +
                    " (run vmsrsd in that group: Group= of its unit)");
  if (::chmod(path.c_str(), mode) != 0) fail_with_errno(path);
  if (::listen(descriptor, SOMAXCONN) != 0) fail_with_errno(path);
  return descriptor;
}

int make_port(const std::string& key, const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) fail(key + ": " + host + ": " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int descriptor =
        ::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, one->ai_protocol);
    if (descriptor < 0) continue;
    const int yes = 1;
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (::bind(descriptor, one->ai_addr, one->ai_addrlen) == 0 &&
        ::listen(descriptor, SOMAXCONN) == 0)
      return descriptor;
    ::close(descriptor);
  }
  fail(key + ": cannot listen on " + host + " port " + std::to_string(port) +
       ": it may be in use, or no address of this machine");
}

// All groups of the process at the other end, as they were when it connected.
bool is_in_group(int descriptor, gid_t first, gid_t wanted) {
  if (first == wanted) return true;
  std::vector<gid_t> groups(64);
  for (;;) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
      groups.resize(bytes / sizeof(gid_t));
      return std::find(groups.begin(), groups.end(), wanted) != groups.end();
    }
    if (errno != ERANGE) return false;
    groups.resize(bytes / sizeof(gid_t));
  }
}

Peer credentials_of(int descriptor) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    Peer nobody{
        .name = "somebody without credentials", .bucket = "nobody", .refusal = {}, .hint = {}};
    nobody.known = false;
    return nobody;
  }
  const std::string uid = std::to_string(credentials.uid);
  Peer peer{.name = "uid " + uid + ", gid " + std::to_string(credentials.gid) + ", pid " +
                    std::to_string(credentials.pid),
            .bucket = "uid " + uid,
            .refusal = {},
            .hint = {}};
  return peer;
}

// `group`: the socket's.
Peer identify_operator(int descriptor, gid_t group) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  Peer peer = credentials_of(descriptor);
  if (!peer.known) return peer;
  (void)::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
  peer.operate = credentials.uid == 0 || credentials.uid == ::geteuid() ||
                 is_in_group(descriptor, credentials.gid, group);
  peer.known = peer.operate;
  peer.refusal = "this socket is for root, the daemon's own account and the members of group " +
                 std::to_string(group);
  peer.hint = "become one of them (api.socket_group), or use api.read_only_socket to look only";
  return peer;
}

Peer identify_observer(int descriptor, const std::string& elsewhere) {
  Peer peer = credentials_of(descriptor);
  peer.refusal = "this socket is read-only: it takes GET";
  peer.hint = elsewhere;
  return peer;
}

Peer identify_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char host[NI_MAXHOST] = "";
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    (void)::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof(host),
                        nullptr, 0, NI_NUMERICHOST);
  return {.name = host,
          .bucket = host,
          .refusal = "only GET is taken here",
          .hint = "look at docs/api.md for the paths and their methods"};
}

gid_t group_of_socket(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail_with_errno(path);
  return status.st_gid;
}

// The path that a unix socket is bound to.
std::string path_of(int descriptor) {
  sockaddr_un address{};
  socklen_t length = sizeof(address);
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      address.sun_family != AF_UNIX)
    fail("an inherited descriptor for the API is no unix socket");
  return address.sun_path;
}

void make_nonblocking(int descriptor) {
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Listener::Listener(const Install& install) : router_(std::make_unique<Router>()) {
  install(*router_);
}

Listener::~Listener() {
  reception_.reset();
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

void Listener::change_limits(const Limits& limits) { reception_->change_limits(limits); }

std::unique_ptr<Listener> Listener::on_socket(const std::string& path, std::uint32_t mode,
                                              const std::string& group, const Install& install,
                                              const Limits& limits, Access access,
                                              const std::string& elsewhere, Inherited inherited) {
  std::unique_ptr<Listener> listener(new Listener(install));
  int descriptor = inherited;
  if (inherited < 0) {
    descriptor = make_unix_socket(path, mode, group_number(group));
    listener->socket_path_ = path;
  } else {
    make_nonblocking(inherited);
  }
  Reception::Rules rules;
  if (access == Access::kReadOnly) {
    rules.identify = [elsewhere](int one) { return identify_observer(one, elsewhere); };
  } else {
    const gid_t owner = group_of_socket(inherited < 0 ? path : path_of(inherited));
    rules.identify = [owner](int one) { return identify_operator(one, owner); };
  }
  listener->reception_ = std::make_unique<Reception>(
      descriptor, std::move(rules), limits,
      [router = listener->router_.get()](httplib::Stream& stream) { router->handle(stream); });
  return listener;
}

std::unique_ptr<Listener> Listener::on_port(const std::string& key, const std::string& host,
                                            std::uint16_t port, std::shared_ptr<Tls> tls,
                                            const Install& install, const Limits& limits,
                                            Inherited inherited) {
  std::unique_ptr<Listener> listener(new Listener(install));
  if (inherited >= 0) make_nonblocking(inherited);
  const int descriptor = inherited >= 0 ? inherited : make_port(key, host, port);
  Reception::Rules rules{.identify = identify_address, .tls = std::move(tls)};
  listener->reception_ = std::make_unique<Reception>(
      descriptor, std::move(rules), limits,
      [router = listener->router_.get()](httplib::Stream& stream) { router->handle(stream); });
  return listener;
}

}  // namespace vmsrs::api
