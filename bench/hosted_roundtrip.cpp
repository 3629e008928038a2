// SPDX-License-Identifier: Apache-2.0
// What one call costs on the hosted platform, beside what two processes need at least to tell each
// other a word and hear one back: both arms in one run, alternating, on the same two processors.
//
// usage: hosted_roundtrip [--output table|json] [--rounds N]
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "hosted_process.hpp"
#include "peer.hpp"

namespace {

using namespace vmsrs::test;
namespace bench = vmsrs::bench;

constexpr unsigned kCalls = 1000;  // of one batch: short, so that many are not interrupted
constexpr unsigned kBatches = 10;  // of one arm, before it is the other's turn

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// All threads of a process, those to come included.
void pin(pid_t process, unsigned cpu) {
  const std::string command =
      "taskset -a -p -c " + std::to_string(cpu) + " " + std::to_string(process) + " >/dev/null";
  if (std::system(command.c_str()) != 0) std::fputs("hosted_roundtrip: not pinned\n", stderr);
}

struct Arm {
  const char* key;
  const char* what;
  std::vector<double> batches = {};
  double median() {
    std::sort(batches.begin(), batches.end());
    return batches[batches.size() / 2];
  }
  double best() { return *std::min_element(batches.begin(), batches.end()); }
};

template <typename Operation>
void measure(Arm& arm, unsigned calls, Operation operation) {
  for (unsigned i = 0; i < calls / 20; ++i) operation();  // both sides awake
  const std::uint64_t begin = now_ns();
  for (unsigned i = 0; i < calls; ++i) operation();
  arm.batches.push_back(static_cast<double>(now_ns() - begin) / calls);
}

}  // namespace

int main(int count, char** arguments) {
  bool json = false;
  unsigned rounds = 100;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(arguments[i], "--output") == 0)
      json = std::strcmp(arguments[i + 1], "json") == 0;
    else if (std::strcmp(arguments[i], "--rounds") == 0)
      rounds = static_cast<unsigned>(std::max(1, std::atoi(arguments[i + 1])));
  }
  HostedProcess hosted;
  Manager manager(hosted);
  manager.define("bench", secret_of(1));
  Client client(hosted.socket());
  if (client.attach("bench", secret_of(1)).status != VMSRS_OK) return 1;
  vmsrs_status status;
  std::byte* const memory = client.take_memory(VMSRS_PAGE_BYTES, status);
  if (memory == nullptr || client.profile(memory, VMSRS_PAGE_BYTES) != VMSRS_OK) return 1;
  pin(getpid(), 0);
  pin(hosted.id(), 1);

  Arm bare{"ping_pong_ns", "bare ping-pong of one shared word"};
  Arm version{"version_call_ns", "VERSION: the transport alone"};
  Arm user{"begin_end_ns", "USER_BEGIN and USER_END, per call"};
  Arm store{"store_call_ns", "STORE of 8 bytes in an open user"};
  Arm asleep{"call_asleep_ns", "VERSION when the engine sleeps (5 ms between calls)"};
  std::uint64_t number = 0;
  const unsigned turns = (rounds + kBatches - 1) / kBatches;
  for (unsigned turn = 0; turn < turns; ++turn) {
    {
      const bench::Peer peer(0, [](std::uint64_t*) {});  // spins only while it is measured
      for (unsigned i = 0; i < kBatches; ++i) measure(bare, kCalls, [&] { peer.ping(); });
    }
    for (unsigned i = 0; i < kBatches; ++i) {
      measure(version, kCalls, [&] { client.call(VMSRS_CALL_VERSION); });
      measure(user, kCalls / 2, [&] {
        client.call(VMSRS_CALL_USER_BEGIN, 1);
        client.call(VMSRS_CALL_USER_END);
      });
      user.batches.back() /= 2;
      client.call(VMSRS_CALL_USER_BEGIN, 1);
      measure(store, kCalls, [&] {
        ++number;
        client.call(VMSRS_CALL_STORE, address_of(memory) + 8 * (number % 512), number, 8);
      });
      client.call(VMSRS_CALL_USER_END);
      usleep(5000);
      const std::uint64_t begin = now_ns();
      client.call(VMSRS_CALL_VERSION);
      asleep.batches.push_back(static_cast<double>(now_ns() - begin));
    }
  }
  if (json)
    std::printf("{");
  else
    std::printf(
        "Hosted platform, native (no hypervisor of ours, no nested paging), %u rounds: ns\n"
        "%-52s %9s %9s\n",
        rounds, "", "median", "best");
  bool first = true;
  for (Arm* const arm : {&bare, &version, &user, &store, &asleep}) {
    if (json)
      std::printf("%s\"%s\": %.1f, \"%s_best\": %.1f", first ? "" : ", ", arm->key, arm->median(),
                  arm->key, arm->best());
    else
      std::printf("%-52s %9.1f %9.1f\n", arm->what, arm->median(), arm->best());
    first = false;
  }
  if (json)
    std::printf(", \"hosted_trap_ns\": %.1f, \"hosted_trap_ratio\": %.2f}\n", user.median(),
                user.median() / bare.median());
  else
    std::printf("%-52s %9.2f\n", "USER call over bare ping-pong", user.median() / bare.median());
  return 0;
}
