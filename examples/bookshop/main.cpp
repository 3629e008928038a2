// SPDX-License-Identifier: Apache-2.0
// The book shop's server. One thread per connection: the hypervisor knows a user by its thread, and
// a thread waits for its client inside its user scope (from BEGIN to CHECKOUT), so a pool would
// need as many threads as there are open orders anyway.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <thread>

#include "catalogue.hpp"
#include "memory.hpp"
#include "options.hpp"
#include "session.hpp"
#include "shop.hpp"

namespace bookshop {
namespace {

constexpr int kMaxConnections = 256;
constexpr std::size_t kPageBytes = 4096;

int fail(const std::string& why, int code = 1) {
  std::fprintf(stderr, "bookshop: %s\n", why.c_str());
  return code;
}

int listen_on(const ServerOptions& options, std::string& error) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  inet_pton(AF_INET, options.bind.c_str(), &address.sin_addr);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (listener >= 0 && setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      listen(listener, kMaxConnections) == 0)
    return listener;
  error = "cannot listen on " + options.bind + ":" + std::to_string(options.port) + ": " +
          std::strerror(errno);
  if (listener >= 0) close(listener);
  return -1;
}

// Never returns: a server is stopped by a signal.
[[noreturn]] void serve(Shop& shop, const SessionLimits& limits, int listener) {
  static std::atomic<int> connections{0};
  for (;;) {
    const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {
      if (errno != EINTR && errno != ECONNABORTED) std::perror("bookshop: accept");
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) usleep(100'000);
      continue;
    }
    const int on = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connections.load() >= kMaxConnections) {
      LineChannel(connection).reply("ERR busy: %d connections already", kMaxConnections);
      continue;
    }
    connections.fetch_add(1);
    try {
      std::thread([&shop, &limits, connection] {
        Session(shop, limits, connection).run();
        connections.fetch_sub(1);
      }).detach();
    } catch (const std::system_error& error) {
      std::fprintf(stderr, "bookshop: no thread for a connection: %s\n", error.what());
      connections.fetch_sub(1);
      close(connection);
    }
  }
}

int run(const ServerOptions& options) {
  std::string error;
  std::vector<CatalogueEntry> catalogue;
  if (!read_catalogue(options.catalogue, catalogue, error)) return fail(error);

  const Layout layout{catalogue.size(), options.order_capacity};
  const std::size_t bytes = (layout.bytes() + kPageBytes - 1) / kPageBytes * kPageBytes;
  void* const base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return fail(std::string("no memory for the shop: ") + strerror(errno));
  static Shop shop(layout, static_cast<std::byte*>(base), catalogue);
  for (const Injection& injection : options.injections) shop.injector().arm(injection);
  if (!memory::protect(options.memory, base, bytes, error)) return fail(error);

  const int listener = listen_on(options, error);
  if (listener < 0) return fail(error);
  static SessionLimits limits;
  limits.early_unlock = options.early_unlock;
  limits.order = std::chrono::seconds(options.order_seconds);
  std::printf("bookshop: listening on %s:%u, %zu titles, memory %s, %zu bytes\n",
              options.bind.c_str(), options.port, catalogue.size(), memory::name(), bytes);
  std::fflush(stdout);
  serve(shop, limits, listener);
}

}  // namespace
}  // namespace bookshop

int main(int count, char** arguments) {
  bookshop::ServerOptions options;
  std::string error;
  switch (bookshop::parse_options(count, arguments, options, error)) {
    case bookshop::Parsed::help:
      std::fputs(bookshop::kUsage, stdout);
      return 0;
    case bookshop::Parsed::wrong:
      return bookshop::fail(error, 2);
    case bookshop::Parsed::run:
      return bookshop::run(options);
  }
}
