// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// The ways in which the kernel writes to a thread's memory for it: what docs/library.md lists.
namespace vmsrs::test {

struct KernelPath {
  const char* name;
  // The call's result, or the negative errno. `region`: page-aligned, of two pages at least, with
  // memory that is the program's own just before it. `socket`: the user's connection, with bytes to
  // be read; `memory`: /proc/self/mem, opened before, for writing.
  long (*call)(std::uint64_t* region, int socket, int memory);
  long wanted = 0;  // 0: -EPERM or -EFAULT
};
extern const KernelPath kernel_paths[];
extern const std::size_t kernel_path_count;

// Each of the kernel's ways to write to a region, for a thread whose user has crashed: refused, and
// the region is as it was.
template <typename Server>
void try_kernel_paths(Server& server, std::uint64_t* region) {
  const int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  BOOST_REQUIRE_GE(memory, 0);
  for (std::size_t i = 0; i < kernel_path_count; ++i) {
    const KernelPath& path = kernel_paths[i];
    int ends[2];
    BOOST_REQUIRE_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    BOOST_REQUIRE_EQUAL(write(ends[1], "abcdefghijklmnopqrstuvwxyz", 26), 26);
    std::uint64_t found[1024];
    std::memcpy(found, region, sizeof found);
    long result = 0;
    BOOST_TEST_CONTEXT(path.name) {
      const int outcome = run([&] {
        BOOST_CHECK_EQUAL(vmsrs_user_connection(ends[0]), 0);
        *static_cast<volatile std::uint64_t*>(server.wild()) = 1;
        result = path.call(region, ends[0], memory);
      });
      BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
      const bool refused =
          path.wanted != 0 ? result == path.wanted : result == -EPERM || result == -EFAULT;
      BOOST_CHECK_MESSAGE(refused, "gave " << result);
      BOOST_CHECK_EQUAL(std::memcmp(found, region, sizeof found), 0);
    }
    close(ends[0]);
    close(ends[1]);
  }
  close(memory);
}

}  // namespace vmsrs::test
