// SPDX-License-Identifier: Apache-2.0
#include "judge.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "clients.hpp"
#include "kinds.hpp"

namespace matrix {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kEndlessMs = 300;  // of a process without the library that never ends

// A connection that is new is answered within the time; 0: whenever.
bool serves_strangers(const std::string& address, unsigned patience_ms) {
  const int connection = connect_to(address);
  if (connection < 0) return false;
  set_patience(connection, patience_ms);
  Reply reply;
  const Request request = {Order::ledger, 0, 0};
  const bool serves = send_message(connection, &request, sizeof request) &&
                      receive_message(connection, &reply, sizeof reply);
  close(connection);
  return serves;
}

// The server's process, while this object lives.
class Server {
 public:
  Server(std::vector<std::string> words, const std::string& address) {
    words.insert(words.end(), {"--address", address});
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    if (posix_spawn(&process_, "/proc/self/exe", nullptr, nullptr, pointers.data(), environ) != 0) {
      std::perror("matrix: posix_spawn");
      std::exit(1);
    }
    for (const auto end = Clock::now() + std::chrono::minutes(1); Clock::now() < end;) {
      if (serves_strangers(address, 0)) return;
      if (ended()) break;
      usleep(2000);
    }
    std::fprintf(stderr, "matrix: the server does not start\n");
    std::exit(1);
  }
  ~Server() {
    if (ended()) return;
    kill(process_, SIGKILL);
    waitpid(process_, &status_, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  bool ended() {
    if (!ended_) ended_ = waitpid(process_, &status_, WNOHANG) == process_;
    return ended_;
  }
  // The signal that has ended it; 0: none.
  int signal() const { return WIFSIGNALED(status_) ? WTERMSIG(status_) : 0; }

 private:
  pid_t process_ = 0;
  int status_ = 0;
  bool ended_ = false;
};

// A server with its clients, started anew when there is none.
struct Stage {
  Stage(const JudgeOptions& options, const std::vector<std::string>& words, std::uint64_t number)
      : address(options.server.address + "." + std::to_string(number)),
        server(words, address),
        clients(address, options.patience_ms) {}
  const std::string address;
  Server server;
  Clients clients;
};

void play(const JudgeOptions& options, const Kind& kind, std::uint64_t number, Stage& stage,
          bool& goes_on) {
  Clients& clients = stage.clients;
  bool answered = clients.make_a_round();
  const Clients::Seen before = clients.seen();
  const int connection = connect_to(stage.address);
  set_patience(connection, options.patience_ms);
  const Request request = {Order::fail, number, 0};
  Reply reply{};
  const auto began = Clock::now();
  answered = answered && send_message(connection, &request, sizeof request) &&
             receive_message(connection, &reply, sizeof reply);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  const std::uint64_t during = clients.seen().rounds - before.rounds;
  close(connection);
  // Also of a request that was not answered: do the others go on?
  const bool others = clients.make_a_round() && clients.make_a_round() &&
                      serves_strangers(stage.address, options.patience_ms);
  const std::uint64_t wrong_at_rest = others ? clients.wrong_at_rest() : 0;
  const Clients::Seen after = clients.seen();
  if (!others) usleep(50'000);  // the server may just be ending
  const bool ended = stage.server.ended();
  std::printf(
      "cell style=%s kind=%s answered=%d outcome=%lld went_on=%llu fault=%llu crashes=%llu "
      "provoked=%llu during=%llu others=%d wrong=%llu told=%llu ended=%d signal=%d ms=%lld\n",
      options.server.style.c_str(), kind.name, answered, static_cast<long long>(reply.outcome),
      static_cast<unsigned long long>(reply.went_on), static_cast<unsigned long long>(reply.fault),
      static_cast<unsigned long long>(reply.crashes),
      static_cast<unsigned long long>(reply.provoked), static_cast<unsigned long long>(during),
      others, static_cast<unsigned long long>(after.wrong - before.wrong + wrong_at_rest),
      static_cast<unsigned long long>(after.told - before.told), ended,
      ended ? stage.server.signal() : 0, static_cast<long long>(ms.count()));
  const bool exact = after.wrong + wrong_at_rest == before.wrong;
  goes_on = answered && others && !ended && exact && (kind.traits & kLeavesDamage) == 0;
}

bool is_possible(const Kind& kind) { return kind.possible == nullptr || kind.possible(); }

bool is_wanted(const Kind& kind, const std::string& kinds) {
  return kinds.empty() || kinds.find("," + std::string(kind.name) + ",") != kinds.npos;
}

// In a child: no core, nothing on the standard error.
[[noreturn]] void provoke_alone(const Kind& kind) {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  const int quiet = open("/dev/null", O_WRONLY);
  dup2(quiet, STDERR_FILENO);
  void* const memory =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  volatile unsigned provoked = 0;
  kind.provoke({static_cast<std::uint64_t*>(memory), kWords, &provoked});
  std::_Exit(0);
}

}  // namespace

void judge_without_library() {
  for (const Kind& kind : all_kinds()) {
    if ((kind.traits & kNeedsLibrary) != 0) continue;
    if (!is_possible(kind)) {
      std::printf("control kind=%s possible=0 endless=0 signal=0\n", kind.name);
      continue;
    }
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) provoke_alone(kind);
    int status = 0;
    bool ended = false;
    for (unsigned ms = 0; ms < kEndlessMs * 10 && !ended; ++ms) {
      ended = waitpid(child, &status, WNOHANG) == child;
      if (!ended) usleep(1000);
      if (!ended && ms == kEndlessMs && kind.signal == 0) break;
    }
    if (!ended) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    std::printf("control kind=%s possible=1 endless=%d signal=%d\n", kind.name, !ended,
                ended && WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  }
}

void judge_style(const JudgeOptions& options, const std::vector<std::string>& words) {
  std::optional<Stage> stage;
  for (std::uint64_t number = 0; number < all_kinds().size(); ++number) {
    const Kind& kind = all_kinds()[number];
    if (!is_possible(kind) || !is_wanted(kind, options.kinds)) continue;
    if (!stage) stage.emplace(options, words, number);
    bool goes_on = false;
    play(options, kind, number, *stage, goes_on);
    std::fflush(stdout);
    if (!goes_on) stage.reset();
  }
}

void list_kinds() {
  for (const Kind& kind : all_kinds())
    std::printf("kind kind=%s signal=%d fault=%d traits=%u\thow=%s\twhy=%s\n", kind.name,
                kind.signal, kind.fault, kind.traits, kind.how, kind.why);
}

}  // namespace matrix
