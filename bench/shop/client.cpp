// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hosted_bench.hpp"
#include "measure.hpp"

namespace vmsrs::bench {
namespace {

constexpr unsigned kTitles = 1200;
constexpr int kPatienceMs = 10'000;

int connect_to(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    give_up("cannot connect to the shop");
  return socket;
}

}  // namespace

Clients::Clients(std::uint16_t port, unsigned count, Mix mix) : mix_(mix) {
  for (unsigned i = 0; i < count + (mix.troublemaker ? 1 : 0); ++i) {
    clients_.push_back({connect_to(port), i == count});
    const unsigned user = i == count ? kTroublemaker : 1000 + i;
    const std::string hello = "HELLO " + std::to_string(user) + "\n";
    char reply[128];
    if (write(clients_[i].socket, hello.data(), hello.size()) < 0 ||
        read(clients_[i].socket, reply, sizeof reply) <= 0)
      give_up("the shop does not answer");
  }
}

Clients::~Clients() {
  for (const One& one : clients_) close(one.socket);
}

void Clients::say(One& one, const std::string& line, Step next) {
  if (send(one.socket, line.data(), line.size(), MSG_NOSIGNAL) < 0) give_up("the shop is gone");
  one.step = next;
}

void Clients::begin_user(One& one) {
  if (!one.troublemaker && random_() % 100 < mix_.read_percent)
    say(one, "READ " + std::to_string(random_() % kTitles + 1) + "\n", Step::read);
  else
    say(one, "BEGIN\n", Step::begun);
}

void Clients::hear(One& one, const std::string& line, Done& done) {
  const bool failed = line.starts_with("FAILED");
  if (line.starts_with("ERR") || (failed && !one.troublemaker)) give_up("the shop said: " + line);
  switch (one.step) {
    case Step::begun:
      return say(one, "ADD " + std::to_string(random_() % kTitles + 1) + " 1\n", Step::added);
    case Step::added:
      return say(one, "CHECKOUT\n", Step::checkout);
    default:
      one.step = Step::idle;
      if (!one.troublemaker) ++done.users;
      if (failed) ++done.failed;
  }
}

void Clients::receive(One& one, Done& done) {
  char text[512];
  const ssize_t count = recv(one.socket, text, sizeof text, 0);
  if (count <= 0) give_up("the shop is gone");
  one.received.append(text, static_cast<std::size_t>(count));
  const std::size_t end = one.received.find('\n');
  if (end == std::string::npos) return;
  const std::string line = one.received.substr(0, end);
  one.received.erase(0, end + 1);
  hear(one, line, done);
}

Clients::Done Clients::run(std::chrono::milliseconds time) {
  Done done{};
  const std::uint64_t begin = now_ns();
  const std::uint64_t end = begin + static_cast<std::uint64_t>(time.count()) * 1'000'000u;
  std::vector<pollfd> waiting;
  for (;;) {
    const bool open = now_ns() < end;
    waiting.clear();
    bool busy = false;
    for (One& one : clients_) {
      if (one.step == Step::idle && open) begin_user(one);
      if (one.step != Step::idle) busy = true;
      waiting.push_back({one.socket, POLLIN, 0});
    }
    if (!busy) break;
    if (poll(waiting.data(), waiting.size(), kPatienceMs) <= 0) give_up("the shop has stopped");
    for (std::size_t i = 0; i < clients_.size(); ++i)
      if (waiting[i].revents != 0) receive(clients_[i], done);
  }
  done.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  return done;
}

}  // namespace vmsrs::bench
