// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <sstream>

#include "hosted_process.hpp"

// The command line, and the socket: one line and exit 2 for what cannot be right.
using namespace vmsrs::test;

namespace {

struct Site {
  HostedProcess hosted;

  struct Ended {
    int code;
    std::string text;
  };
  Ended run(std::vector<std::string> options, std::vector<std::string> environment = {}) const {
    const std::string file = hosted.path("output");
    const int output = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    options.insert(options.begin(), VMSRS_HOSTED_BINARY);
    Child child(options, environment, output, output);
    close(output);
    const int status = child.wait();
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text.str()};
  }
  void check(const std::vector<std::string>& options, int code, const std::string& part) const {
    const Ended ended = run(options);
    BOOST_CHECK_EQUAL(ended.code, code);
    BOOST_CHECK_EQUAL(std::count(ended.text.begin(), ended.text.end(), '\n'), 1);
    BOOST_CHECK_MESSAGE(ended.text.find(part) != std::string::npos, part << " in " << ended.text);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(options, Site)

BOOST_AUTO_TEST_CASE(bad_values) {
  check({"--sotrage", "1MiB"}, 2, "--sotrage: unknown option");
  for (const char* size : {"", "1", "0MiB", "1023KiB", "-1MiB", "1.5MiB", "1mb", "99999TiB",
                           "18446744073709551616B", "MiB"})
    check({"--storage", size}, 2, "--storage: expected a size from 1MiB to 1TiB");
  for (const char* count : {"0", "1025", "x", "", "1 "})
    check({"--max-servers", count}, 2, "--max-servers: expected a number from 1 to 1024");
  check({"--socket", "relative"}, 2, "--socket: expected an absolute path");
  check({"--socket", "/" + std::string(100, 'x')}, 2, "--socket: expected an absolute path");
  check({"--socket-mode", "888"}, 2, "--socket-mode: expected an octal mode");
  check({"--socket"}, 2, "--socket: expected an absolute path");
  check({"--secret-hash-file", "/nowhere"}, 2, "/nowhere: No such file or directory");
  std::ofstream(hosted.path("short")) << std::string(63, 'a');
  check({"--secret-hash-file", hosted.path("short")}, 2, "expected 64 hexadecimal digits");
  check({"--socket", "/nowhere/socket"}, 1, "--socket /nowhere/socket: No such file");
  BOOST_CHECK_EQUAL(run({"--help"}).code, 0);
}

BOOST_AUTO_TEST_CASE(socket_that_is_taken) {
  check({"--socket", hosted.socket()}, 1, "another process serves it");
  check({"--socket", hosted.path("hash")}, 1, "something else");
  BOOST_CHECK(Manager(hosted).violations().empty());
}

BOOST_AUTO_TEST_CASE(stale_socket_is_replaced) {
  const std::string path = hosted.path("stale");
  const int file = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  BOOST_REQUIRE(bind(file, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  close(file);
  const Child other({VMSRS_HOSTED_BINARY, "--socket", path});
  bool connected = false;
  for (unsigned i = 0; i < 400 && !connected; ++i) {
    try {
      Client client(path);
      connected = true;
      const Secret any{};
      BOOST_CHECK_EQUAL(client.call(VMSRS_CALL_MGMT_OPEN, address_of(&any), VMSRS_OBSERVE).status,
                        VMSRS_DENIED);  // without --secret-hash-file management is closed
    } catch (const std::runtime_error&) {
      usleep(5000);
    }
  }
  BOOST_CHECK(connected);
}

// As systemd hands a socket over: descriptor 3, LISTEN_FDS and LISTEN_PID.
BOOST_AUTO_TEST_CASE(socket_activation) {
  const std::string path = hosted.path("activated");
  const int file = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  BOOST_REQUIRE(bind(file, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  BOOST_REQUIRE(listen(file, 8) == 0);
  const std::string script = "exec 3<&" + std::to_string(file) +
                             "; export LISTEN_PID=$$ LISTEN_FDS=1; exec " VMSRS_HOSTED_BINARY
                             " --storage 64MiB";
  const Child other({"/bin/bash", "-c", script});
  Client client(path);
  BOOST_CHECK_EQUAL(client.call(VMSRS_CALL_VERSION).rsi, VMSRS_ISOLATION_PROCESS);
  close(file);
  const Child wrong(
      {"/bin/bash", "-c",
       "exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec " VMSRS_HOSTED_BINARY " 2>" +
           hosted.path("wrong")});
  for (unsigned i = 0; i < 400 && wrong.alive(); ++i) usleep(5000);
  std::string line;
  std::ifstream stream(hosted.path("wrong"));
  std::getline(stream, line);
  BOOST_CHECK(line.find("ListenSequentialPacket") != std::string::npos);
}

// Nothing runs until somebody connects; then systemd's own program becomes the server.
BOOST_AUTO_TEST_CASE(socket_activation_by_systemd) {
  const std::string path = hosted.path("by_systemd");
  const Child other({"/usr/bin/systemd-socket-activate", "--seqpacket", "--listen=" + path,
                     VMSRS_HOSTED_BINARY, "--storage", "64MiB"});
  for (unsigned i = 0; i < 400 && access(path.c_str(), F_OK) != 0; ++i) usleep(5000);
  Client client(path);
  BOOST_CHECK_EQUAL(client.call(VMSRS_CALL_VERSION).rsi, VMSRS_ISOLATION_PROCESS);
}

BOOST_AUTO_TEST_SUITE_END()
