// SPDX-License-Identifier: Apache-2.0
#include "api/listener.hpp"

#include <grp.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace vmsrs::api {

// The library listens with a queue of five; on a unix socket the sixth client that comes at the
// same time would be turned away. Listening again deepens the queue.
class DeepServer final : public httplib::Server {
 public:
  void deepen_queue() { (void)::listen(svr_sock_, SOMAXCONN); }
};

namespace {

constexpr std::size_t kThreads = 6;

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

gid_t group_number(const std::string& group) {
  if (const struct group* entry = ::getgrnam(group.c_str())) return entry->gr_gid;
  const bool digits =
      group.size() <= 9 && group.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) fail("api.socket_group: there is no group \"" + group + "\"");
  return static_cast<gid_t>(std::stoul(group));
}

}  // namespace

Listener::Listener() : server_(std::make_unique<DeepServer>()) {
  server_->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server_->set_keep_alive_max_count(1);
  server_->set_read_timeout(5);
  server_->set_write_timeout(5);
  // The library's own choice (SO_REUSEPORT) would let two daemons share a port unnoticed.
  server_->set_socket_options([](socket_t descriptor) {
    const int yes = 1;
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
}

Listener::~Listener() {
  if (thread_.joinable()) {
    server_->stop();
    thread_.join();
  }
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

void Listener::start() {
  server_->deepen_queue();
  thread_ = std::thread([this] { server_->listen_after_bind(); });
  // stop() before the loop runs would be lost.
  while (!server_->is_running()) std::this_thread::yield();
}

std::unique_ptr<Listener> Listener::on_socket(
    const std::string& path, std::uint32_t mode, const std::string& group,
    const std::function<void(httplib::Server&)>& install) {
  make_room(path);
  std::unique_ptr<Listener> listener(new Listener);
  install(*listener->server_);
  listener->server_->set_address_family(AF_UNIX);
  const mode_t previous = ::umask(0177);  // nobody else before mode and group are as wanted
  const bool bound = listener->server_->bind_to_port(path, 80);
  ::umask(previous);
  if (!bound) fail_with_errno(path + ": cannot listen there");
  listener->socket_path_ = path;
  if (!group.empty() && ::chown(path.c_str(), static_cast<uid_t>(-1), group_number(group)) != 0) {
    fail_with_errno(path + ": cannot give it to the group " + group);
  }
  if (::chmod(path.c_str(), mode) != 0) fail_with_errno(path);
  listener->start();
  return listener;
}

std::unique_ptr<Listener> Listener::on_port(const std::string& host, std::uint16_t port,
                                            const std::function<void(httplib::Server&)>& install) {
  std::unique_ptr<Listener> listener(new Listener);
  install(*listener->server_);
  if (!listener->server_->bind_to_port(host, port)) {
    fail("metrics.listen: cannot listen on " + host + " port " + std::to_string(port) +
         ": it may be in use, or no address of this machine");
  }
  listener->start();
  return listener;
}

}  // namespace vmsrs::api
