// SPDX-License-Identifier: Apache-2.0
#include "styles.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace matrix {
namespace {

// One request. False: the client is gone.
bool serve_one(Bank& bank, int connection) {
  Request request;
  if (!receive_message(connection, &request, sizeof request)) return false;
  const Reply reply = bank.serve(request);
  return send_message(connection, &reply, sizeof reply);
}

// Each connection has a thread of its own.
[[noreturn]] void serve_by_threads(Bank& bank, int listener) {
  bank.start(true);
  for (;;) {
    const int connection = accept(listener, nullptr, nullptr);
    std::thread([&bank, connection] {
      while (serve_one(bank, connection)) {
      }
      close(connection);
    }).detach();
  }
}

std::vector<pollfd> watched(std::initializer_list<int> descriptors) {
  std::vector<pollfd> all;
  for (const int descriptor : descriptors) all.push_back({descriptor, POLLIN, 0});
  return all;
}

// A few threads, each of which takes whichever request is next; a connection that has been served
// comes back through a pipe.
[[noreturn]] void serve_by_pool(Bank& bank, int listener) {
  bank.start(true);
  int waiting[2], served[2];
  if (pipe(waiting) != 0 || pipe(served) != 0) std::abort();
  for (unsigned i = 0; i < kWorkers; ++i)
    std::thread([&bank, in = waiting[0], out = served[1]] {
      int connection;
      while (read(in, &connection, sizeof connection) == sizeof connection) {
        const bool lives = serve_one(bank, connection);
        if (!lives) close(connection);
        if (lives && write(out, &connection, sizeof connection) < 0) std::abort();
      }
    }).detach();
  for (std::vector<pollfd> idle = watched({listener, served[0]});;) {
    poll(idle.data(), idle.size(), -1);
    for (std::size_t i = idle.size(); i-- > 2;) {
      if (idle[i].revents == 0) continue;
      const int connection = idle[i].fd;
      idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(i));
      if (write(waiting[1], &connection, sizeof connection) < 0) std::abort();
    }
    int connection = -1;
    if (idle[0].revents != 0) connection = accept(listener, nullptr, nullptr);
    if (connection >= 0) idle.push_back({connection, POLLIN, 0});
    if (idle[1].revents != 0 && read(served[0], &connection, sizeof connection) > 0)
      idle.push_back({connection, POLLIN, 0});
  }
}

// One thread, the first one, which serves whatever is ready. At most so many connections.
[[noreturn]] void serve_by_loop(Bank& bank, int listener, bool others_are_served,
                                std::size_t most) {
  bank.start(others_are_served);
  fcntl(listener, F_SETFL, O_NONBLOCK);  // another process may be first
  for (std::vector<pollfd> open = watched({listener});;) {
    open[0].events = open.size() <= most ? POLLIN : 0;
    poll(open.data(), open.size(), -1);
    for (std::size_t i = open.size(); i-- > 1;) {
      if (open[i].revents == 0 || serve_one(bank, open[i].fd)) continue;
      close(open[i].fd);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (open[0].revents == 0) continue;
    const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) open.push_back({connection, POLLIN, 0});
  }
}

// A parent and the workers that it forks, each with a loop of its own. If one ends they all do, as
// it has.
[[noreturn]] void serve_by_processes(Bank& bank, int listener) {
  constexpr std::size_t kMost = (kClients + 1 + kWorkers - 1) / kWorkers;
  for (unsigned number = 1; number <= kWorkers; ++number) {
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bank.join(number);
    serve_by_loop(bank, listener, true, kMost);
  }
  int status = 0;
  wait(&status);
  if (WIFSIGNALED(status)) {
    signal(WTERMSIG(status), SIG_DFL);
    kill(getpid(), WTERMSIG(status));
  }
  std::_Exit(1);
}

}  // namespace

bool serve(const ServerOptions& options) {
  const bool processes = options.style == "processes";
  const int listener = listen_at(options.address);
  Bank bank(options, processes ? kWorkers : 1);
  if (options.style == "threads") serve_by_threads(bank, listener);
  if (options.style == "pool") serve_by_pool(bank, listener);
  if (options.style == "loop") serve_by_loop(bank, listener, false, 2 * kClients);
  if (processes) serve_by_processes(bank, listener);
  return false;
}

}  // namespace matrix
