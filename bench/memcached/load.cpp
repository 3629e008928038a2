// SPDX-License-Identifier: Apache-2.0
// A load for memcached over loopback, and what it costs the server: connections in a closed loop,
// one request at a time each; the server's processor time by its own clock.
//
// usage: memcached_load PORT PID GET_PERCENT REQUESTS [CONNECTIONS]
// prints the server's nanoseconds of processor time for a request
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr unsigned kKeys = 10'000;
constexpr unsigned kValueBytes = 100;

template <typename T>
T number(const char* text, const char* what, T least, T most) {
  T value{};
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end || value < least || value > most)
    errx(2, "%s: expected a number from %lld to %lld, got '%s'", what,
         static_cast<long long>(least), static_cast<long long>(most), text);
  return value;
}

std::int64_t processor_ns(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) err(1, "the server's clock");
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

class Connection {
 public:
  explicit Connection(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socket_ < 0 ||
        connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      err(1, "port %u", port);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  void send(std::string_view request) {
    if (write(socket_, request.data(), request.size()) != static_cast<ssize_t>(request.size()))
      err(1, "a request");
  }
  // Ends with `end`, which no value has in it.
  void receive(std::string_view end) {
    std::size_t got = 0;
    do {
      const ssize_t count = read(socket_, answer_ + got, sizeof answer_ - got);
      if (count <= 0) errx(1, "the server has closed a connection");
      got += static_cast<std::size_t>(count);
    } while (!std::string_view(answer_, got).ends_with(end));
  }
  int socket() const { return socket_; }

 private:
  int socket_;
  char answer_[4096];

  static int socket(int domain, int type, int protocol) { return ::socket(domain, type, protocol); }
};

constexpr std::string_view kStored = "STORED\r\n", kFound = "END\r\n";

std::string set_of(unsigned key) {
  return "set key:" + std::to_string(key) + " 0 0 " + std::to_string(kValueBytes) + "\r\n" +
         std::string(kValueBytes, static_cast<char>('a' + key % 26)) + "\r\n";
}
std::string get_of(unsigned key) { return "get key:" + std::to_string(key) + "\r\n"; }

}  // namespace

int main(int count, char** arguments) {
  if (count < 5 || count > 6)
    errx(2, "usage: %s PORT PID GET_PERCENT REQUESTS [CONNECTIONS]", arguments[0]);
  const auto port = number<std::uint16_t>(arguments[1], "PORT", 1, 65535);
  const auto process = number<pid_t>(arguments[2], "PID", 1, 1 << 30);
  const auto get_percent = number<unsigned>(arguments[3], "GET_PERCENT", 0, 100);
  const auto requests = number<unsigned>(arguments[4], "REQUESTS", 1, 1'000'000'000);
  const auto connections =
      count == 6 ? number<unsigned>(arguments[5], "CONNECTIONS", 1, 1000) : 16u;
  clockid_t clock{};
  if (clock_getcpuclockid(process, &clock) != 0) errx(1, "process %d is not there", process);

  std::vector<Connection> all;
  for (unsigned i = 0; i < connections; ++i) all.emplace_back(port);
  for (unsigned key = 0; key < kKeys; ++key) {
    all[0].send(set_of(key));
    all[0].receive(kStored);
  }
  std::mt19937 random(1);
  std::vector<std::string_view> ends(connections);
  const std::int64_t before = processor_ns(clock);
  // All ask, then all read: the server finds several ready at a time, as under load.
  for (unsigned done = 0; done < requests; done += connections) {
    for (unsigned i = 0; i < connections; ++i) {
      const bool get = random() % 100 < get_percent;
      const auto key = static_cast<unsigned>(random() % kKeys);
      all[i].send(get ? get_of(key) : set_of(key));
      ends[i] = get ? kFound : kStored;
    }
    for (unsigned i = 0; i < connections; ++i) all[i].receive(ends[i]);
  }
  const unsigned made = (requests + connections - 1) / connections * connections;
  std::printf("%.1f\n", static_cast<double>(processor_ns(clock) - before) / made);
  return 0;
}
