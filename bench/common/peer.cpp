// SPDX-License-Identifier: Apache-2.0
#include "peer.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "hosted_bench.hpp"
#include "measure.hpp"

namespace vmsrs::bench {

Peer::Peer(std::size_t words, std::function<void(std::uint64_t*)> work, bool gently)
    : bytes_((words + kLineWords) * sizeof(std::uint64_t)) {
  void* const memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) give_up("a peer: mmap");
  word_ = static_cast<std::uint64_t*>(memory);
  process_ = fork();
  if (process_ < 0) give_up("a peer: fork");
  if (process_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pin_to(kEngineCpu);
  for (;;) {
    const std::uint64_t value = __atomic_load_n(word_, __ATOMIC_ACQUIRE);
    if ((value & 1) == 0) {
      if (gently) __builtin_ia32_pause();
      continue;
    }
    work(shared());
    __atomic_store_n(word_, value + 1, __ATOMIC_RELEASE);
  }
}

Peer::~Peer() {
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  munmap(word_, bytes_);
}

double median_ping_ns(const Peer& peer, const std::function<void()>& before,
                      const std::function<void()>& after) {
  constexpr unsigned kWarm = 100;
  std::vector<double> times;
  for (unsigned i = 0; i < kWarm + rounds(2000); ++i) {
    if (before) before();
    const double each = time_each(1, [&] {
      peer.ping();
      if (after) after();
    });
    if (i >= kWarm) times.push_back(each);
  }
  return median(std::move(times));
}

double ping_pong_ns() {
  constexpr unsigned kPings = 1000;
  const Peer peer(0, [](std::uint64_t*) {});
  std::vector<double> times;
  for (unsigned round = 0; round < rounds(200); ++round)
    times.push_back(time_each(kPings, [&] {
      for (unsigned i = 0; i < kPings; ++i) peer.ping();
    }));
  return median(std::move(times));
}

}  // namespace vmsrs::bench
