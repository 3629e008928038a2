// SPDX-License-Identifier: Apache-2.0
// Who asks and does not read what is answered.
#include "api/reception.hpp"

#include <httplib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>

#include "scratch.hpp"

namespace vmsrs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr unsigned kSendTimeoutMs = 300;
constexpr std::size_t kPiece = 64 << 10;

api::Limits limits() {
  api::Limits limits;
  limits.send_timeout_ms = kSendTimeoutMs;
  limits.receive_timeout_ms = 60000;
  limits.threads = 3;
  return limits;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// Answers every request with so many pieces.
struct Desk {
  explicit Desk(std::size_t pieces)
      : reception(listener(), {.identify = [](int) { return known(); }, .tls = {}}, limits(),
                  [this, pieces](httplib::Stream& stream) {
                    const std::string piece(kPiece, 'x');
                    bool taken = true;
                    for (std::size_t i = 0; i < pieces && taken; ++i)
                      taken = stream.write(piece.data(), piece.size()) > 0;
                    ++(taken ? whole : broken_off);
                  }) {}

  static api::Peer known() {
    api::Peer peer;
    peer.operate = true;
    return peer;
  }
  int listener() const {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un address = address_of(path);
    BOOST_REQUIRE(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                  0);
    BOOST_REQUIRE(::listen(descriptor, 16) == 0);
    return descriptor;
  }
  int ask() const {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = address_of(path);
    BOOST_REQUIRE(
        ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const std::string request = "GET / HTTP/1.1\r\n\r\n";
    BOOST_REQUIRE(::send(descriptor, request.data(), request.size(), 0) ==
                  static_cast<ssize_t>(request.size()));
    return descriptor;
  }

  Scratch scratch;
  const std::string path = scratch.path("socket");
  std::atomic<unsigned> whole{0}, broken_off{0};
  api::Reception reception;
};

// All that comes, until the other side closes; closes this one.
std::size_t take_all(int descriptor) {
  std::string buffer(kPiece, 0);
  std::size_t bytes = 0;
  for (ssize_t got; (got = ::recv(descriptor, buffer.data(), buffer.size(), 0)) > 0;)
    bytes += static_cast<std::size_t>(got);
  ::close(descriptor);
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reception)

// More clients than there are workers for: none of them keeps its worker for long, and who reads is
// served all the while.
BOOST_AUTO_TEST_CASE(a_worker_waits_for_a_client_until_the_send_timeout) {
  constexpr std::size_t kPieces = 64;
  Desk desk(kPieces);
  std::vector<int> deaf;
  for (unsigned i = 0; i < 30; ++i) deaf.push_back(desk.ask());
  BOOST_TEST(take_all(desk.ask()) == kPieces * kPiece);
  BOOST_TEST(desk.whole == 1u);
  BOOST_TEST(eventually([&] { return desk.broken_off == 30u; }));
  for (const int descriptor : deaf) BOOST_TEST(take_all(descriptor) < kPieces * kPiece);
}

// What the daemon has kept for a client of an answer that is done goes with it.
BOOST_AUTO_TEST_CASE(the_rest_of_an_answer_is_kept_until_the_send_timeout) {
  constexpr std::size_t kPieces = 6;
  Desk desk(kPieces);
  const int deaf = desk.ask();
  BOOST_TEST(eventually([&] { return desk.whole == 1u; }));
  std::this_thread::sleep_for(milliseconds(5 * kSendTimeoutMs));
  BOOST_TEST(take_all(deaf) < kPieces * kPiece);
  BOOST_TEST(take_all(desk.ask()) == kPieces * kPiece);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
