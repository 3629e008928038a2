// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/abi.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

// What the tests inside a Linux guest share.
namespace guest {

// The management secret that tests/machine/CMakeLists.txt gives the hypervisor.
inline constexpr char kSecret[] = "vmsrs machine tests: the secret.";
static_assert(sizeof(kSecret) - 1 == VMSRS_SECRET_BYTES);

struct Call {
  std::uint64_t number;
  std::uint64_t rdi = 0, rsi = 0, rdx = 0, r10 = 0, r8 = 0, r9 = 0;
};
// Status; `call.rdx` and `call.rsi` get the results.
std::uint64_t hypercall_once(Call& call);
// The same, but TOUCH is obeyed and the call repeated.
std::uint64_t hypercall(Call& call);

bool has_signature();
// Observe and operate; ends the test if it is refused.
std::uint64_t open_management();
// A server that may attach with kSecret; its number.
std::uint64_t define_server(std::uint64_t token, const char* name);
vmsrs_stats stats(std::uint64_t token);
vmsrs_exits exits(std::uint64_t token, std::uint64_t cpu);

struct Range {
  std::uint64_t begin, end;  // end: first byte behind
};
// Lines of /proc/iomem of this name, at every level.
std::vector<Range> iomem(const std::string& name);

// Runs `body` in a child: its signal as a negative number, else what it returned (0 to 127).
template <class Body>
int in_child(Body body);

// The hypervisor's, among all reserved ones, of QEMU's machines with a BIOS; ends the test if they
// are not so many bytes.
std::vector<Range> hidden_ranges(std::uint64_t hidden_bytes);

void pin_to(int cpu);
// What run-guest.py says of the machine, such as its `cpus`.
long machine_number(const char* name);

[[noreturn]] void fail(const std::string& why);
[[noreturn]] void skip(const std::string& why);

}  // namespace guest

#define EXPECT(condition)                                                                    \
  do {                                                                                       \
    if (!(condition))                                                                        \
      guest::fail(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #condition); \
  } while (false)
#define EXPECT_EQUAL(left, right)                                                              \
  do {                                                                                         \
    const auto left_value = (left);                                                            \
    const auto right_value = (right);                                                          \
    if (!(left_value == right_value)) {                                                        \
      guest::fail(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #left " is " + \
                  std::to_string(left_value) + ", expected " + std::to_string(right_value));   \
    }                                                                                          \
  } while (false)

#include <sys/wait.h>
#include <unistd.h>

template <class Body>
int guest::in_child(Body body) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) fail("fork");
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
