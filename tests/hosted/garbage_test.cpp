// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>

#include "hosted_process.hpp"

// Clients that say what no client says: cut off, with a line that names them, and nobody else
// notices.
using namespace vmsrs::test;

namespace {

struct Site {
  // Room for all that come here faster than they are seen off.
  HostedProcess hosted{{"--max-servers", "1024", "--max-per-account", "1024"}};
  Manager manager{hosted};
  std::uint32_t server = manager.define("server", secret_of(1));
  std::string me = "cut off pid " + std::to_string(getpid()) + " uid " + std::to_string(getuid());

  int connect_raw() const {
    const int file = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    hosted.socket().copy(address.sun_path, sizeof address.sun_path - 1);
    BOOST_REQUIRE(connect(file, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return file;
  }
  static bool is_cut_off(int file) {
    pollfd wanted = {file, POLLRDHUP, 0};
    return poll(&wanted, 1, 10'000) == 1;
  }
  void check_cut_off(int file, const std::string& why) const {
    BOOST_CHECK_MESSAGE(is_cut_off(file), why);
    BOOST_CHECK_MESSAGE(hosted.logs(me + ": " + why), why << " is not in: " << hosted.log());
    close(file);
  }
  static vmsrs_hosted_message good(std::uint32_t type) {
    return {VMSRS_HOSTED_MAGIC, type, 0, VMSRS_ABI_VERSION, 0, 1, 1, 0};
  }
  void send_message(int file, const vmsrs_hosted_message& message) const {
    BOOST_REQUIRE(send(file, &message, sizeof message, MSG_NOSIGNAL) == sizeof message);
  }
  void check_others_are_well() {
    BOOST_CHECK(hosted.alive());
    BOOST_CHECK_EQUAL(manager.violations(), "");
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(garbage, Site)

BOOST_AUTO_TEST_CASE(wrong_sizes) {
  for (const std::size_t bytes : {0u, 1u, 47u, 49u, 4096u}) {
    const int file = connect_raw();
    const std::string text(bytes, 'x');
    BOOST_REQUIRE(send(file, text.data(), bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes));
    check_cut_off(file, "a message of " + std::to_string(bytes) + " bytes");
  }
  check_others_are_well();
}

BOOST_AUTO_TEST_CASE(wrong_fields) {
  vmsrs_hosted_message message = good(VMSRS_HOSTED_HELLO);
  message.magic ^= 1;
  int file = connect_raw();
  send_message(file, message);
  check_cut_off(file, "a message without the magic number");
  for (const std::uint32_t type : {0u, std::uint32_t{VMSRS_HOSTED_TYPE_COUNT}, 0xffffffffu}) {
    file = connect_raw();
    send_message(file, good(type));
    check_cut_off(file, "a message of unknown type " + std::to_string(type));
  }
  message = good(VMSRS_HOSTED_HELLO);
  message.reserved = 1;
  file = connect_raw();
  send_message(file, message);
  check_cut_off(file, "a message with reserved bits");
  check_others_are_well();
}

BOOST_AUTO_TEST_CASE(out_of_turn) {
  for (std::uint32_t type = VMSRS_HOSTED_MAPPED; type < VMSRS_HOSTED_TYPE_COUNT; ++type) {
    const int file = connect_raw();
    send_message(file, good(type));
    check_cut_off(file, "a message of type " + std::to_string(type) + " out of turn");
  }
  const int file = connect_raw();
  send_message(file, good(VMSRS_HOSTED_HELLO));
  send_message(file, good(VMSRS_HOSTED_HELLO));
  check_cut_off(file, "a message of type 1 out of turn");
  for (const std::uint64_t base : {0ull, 1ull, 0x7fff'ffff'f000ull, ~0ull, 1ull << 63}) {
    const int other = connect_raw();
    send_message(other, good(VMSRS_HOSTED_HELLO));
    vmsrs_hosted_message mapped = good(VMSRS_HOSTED_MAPPED);
    mapped.a = base;
    send_message(other, mapped);
    check_cut_off(other, "the call area cannot be mapped where it says");
  }
  check_others_are_well();
}

BOOST_AUTO_TEST_CASE(descriptors) {
  const int file = connect_raw();
  vmsrs_hosted_message message = good(VMSRS_HOSTED_HELLO);
  iovec part = {&message, sizeof message};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* const c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  const int memory = memfd_create("evil", 0);
  std::memcpy(CMSG_DATA(c), &memory, sizeof memory);
  BOOST_REQUIRE(sendmsg(file, &header, MSG_NOSIGNAL) == sizeof message);
  check_cut_off(file, "it sent descriptors");
  close(memory);
  check_others_are_well();
}

BOOST_AUTO_TEST_CASE(a_client_that_takes_no_answers) {
  Client client(hosted.socket());
  bool cut = false;
  for (unsigned i = 0; i < 1'000'000 && !cut; ++i) {
    vmsrs_hosted_message message = good(VMSRS_HOSTED_LANE_TAKE);
    cut = send(client.link().socket, &message, sizeof message, MSG_NOSIGNAL) < 0;
    if (i % 64 == 0) __atomic_store_n(&client.link().head->mail, 1u, __ATOMIC_RELEASE);
  }
  BOOST_CHECK(hosted.logs(me + ": it takes no answers"));
  check_others_are_well();
}

BOOST_AUTO_TEST_CASE(random_messages) {
  std::mt19937_64 random(20);
  for (unsigned i = 0; i < 300; ++i) {
    const int file = connect_raw();
    for (unsigned j = 0; j < 4; ++j) {
      vmsrs_hosted_message message =
          good(static_cast<std::uint32_t>(random() % VMSRS_HOSTED_TYPE_COUNT));
      message.a = random() >> random() % 64;
      message.b = random() >> random() % 64;
      message.c = random() >> random() % 64;
      if (send(file, &message, sizeof message, MSG_NOSIGNAL) < 0) break;
    }
    close(file);
  }
  check_others_are_well();
  // The same, once greeted and attached: nothing here is out of turn.
  Client client(hosted.socket(), 64);
  BOOST_REQUIRE_EQUAL(client.attach("server", secret_of(1)).status, VMSRS_OK);
  for (unsigned i = 0; i < 20'000; ++i) {
    vmsrs_hosted_message message{};
    message.type = static_cast<std::uint32_t>(VMSRS_HOSTED_LANE_GIVE + random() % 4);
    message.a = random() >> random() % 64;
    message.b = random() >> random() % 64;
    if (random() % 2 == 0) message.a &= ~4095ull, message.b &= 0xff000ull;
    vmsrs::hosted::ask(client.link(), message);
  }
  BOOST_CHECK(vmsrs::hosted::link_is_up(client.link()));
  check_others_are_well();
}

BOOST_AUTO_TEST_SUITE_END()
