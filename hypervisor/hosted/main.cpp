// SPDX-License-Identifier: Apache-2.0
// vmsrs-hosted: the recovery engine in a process of its own. This file starts it and takes clients
// in; each of them is served by a Connection.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <list>
#include <system_error>

#include "hosted/accounts.hpp"
#include "hosted/connection.hpp"
#include "hosted/hosted_platform.hpp"
#include "hosted/listener.hpp"
#include "hosted/options.hpp"
#include "monitor/monitor.hpp"

namespace vmsrs::hosted {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

int fail(int code, const std::string& why) {
  std::fprintf(stderr, "vmsrs-hosted: %s\n", why.c_str());
  return code;
}

// Takes clients in until a signal says stop.
class Reception {
 public:
  Reception(int listener, HostedPlatform& platform, const Limits& limits)
      : listener_(listener),
        platform_(platform),
        accounts_(limits),
        stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        ended_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Reception() {
    const std::uint64_t one = 1;
    if (write(stop_, &one, sizeof one) < 0) std::perror("vmsrs-hosted: stopping");
    while (!connections_.empty()) let_go(connections_.begin());
    close(stop_);
    close(ended_);
  }
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  void run(int signals) {
    for (;;) {
      pollfd wanted[3] = {{listener_, POLLIN, 0}, {ended_, POLLIN, 0}, {signals, POLLIN, 0}};
      poll(wanted, 3, -1);
      if (wanted[1].revents != 0) sweep();
      if (wanted[0].revents != 0) take_in();
      if (wanted[2].revents != 0) return;
    }
  }

 private:
  using Entry = std::list<Connection>::iterator;

  void let_go(Entry entry) {
    const uid_t account = entry->peer().account();
    connections_.erase(entry);  // waits for its thread
    accounts_.give_connection(account);
  }

  void sweep() {
    std::uint64_t rings = 0;
    if (read(ended_, &rings, sizeof rings) < 0) return;
    for (Entry entry = connections_.begin(); entry != connections_.end();) {
      const Entry next = std::next(entry);
      if (entry->over()) let_go(entry);
      entry = next;
    }
  }

  void take_in() {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) usleep(100'000);
      return;
    }
    Connection& connection =
        connections_.emplace_back(socket, ++number_, platform_, accounts_, places_, stop_, ended_);
    const Peer& peer = connection.peer();
    if (!accounts_.take_connection(peer.account())) {
      std::fprintf(stderr, "vmsrs-hosted: %s is not taken in: too many connections\n",
                   peer.name().c_str());
      connections_.pop_back();
      return;
    }
    try {
      connection.start();
    } catch (const std::system_error& error) {
      std::fprintf(stderr, "vmsrs-hosted: %s is not taken in: no thread: %s\n", peer.name().c_str(),
                   error.what());
      let_go(std::prev(connections_.end()));
    }
  }

  const int listener_;
  HostedPlatform& platform_;
  Accounts accounts_;
  RegionPlaces places_;
  const int stop_;
  const int ended_;
  std::uint64_t number_ = 0;
  std::list<Connection> connections_;
};

// Before the first thread: all inherit the mask.
int stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// Nobody but root may look into this process, and no core of it is left anywhere.
void close_up() {
  prctl(PR_SET_DUMPABLE, 0);
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

int run(const Options& options) {
  close_up();
  monitor::MonitorConfig config{};
  if (!options.secret_hash_file.empty()) {
    std::string problem;
    const auto hash = read_hash(options.secret_hash_file, problem);
    if (!hash) return fail(kExitUsage, problem);
    memcpy(config.secret_hash, hash->data(), hash->size());
    config.has_secret = true;
  }
  void* const storage = take_hidden_memory(options.storage_bytes);
  if (storage == nullptr) return fail(kExitFailed, "--storage: there is not so much memory");
  static HostedPlatform platform(storage, options.storage_bytes);
  if (!platform.valid()) return fail(kExitFailed, "no memory for the windows");
  if (!monitor::initialise(platform, storage, options.storage_bytes, config))
    return fail(kExitUsage, "--storage: too small to be of use");
  const Listener listener(options.socket, options.socket_mode);
  if (listener.descriptor() < 0) return fail(kExitFailed, listener.problem());
  const int signals = stop_signals();
  std::fprintf(stderr,
               "vmsrs-hosted: serving %s: %llu MiB of storage, isolation of a process (not of a "
               "hypervisor)%s\n",
               listener.name().c_str(),
               static_cast<unsigned long long>(options.storage_bytes >> 20),
               config.has_secret ? "" : "; management is closed: no --secret-hash-file");
  Reception(listener.descriptor(), platform,
            {options.max_servers, options.max_per_account, options.memory_per_account})
      .run(signals);
  return 0;
}

}  // namespace
}  // namespace vmsrs::hosted

int main(int count, char** arguments) {
  using namespace vmsrs::hosted;
  Options options;
  std::string problem;
  switch (parse_options(count, arguments, options, problem)) {
    case Parsed::kHelp:
      std::fputs(kUsage, stdout);
      return 0;
    case Parsed::kWrong:
      return fail(kExitUsage, problem);
    case Parsed::kRun:
      return run(options);
  }
}
