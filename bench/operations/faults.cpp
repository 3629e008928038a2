// SPDX-License-Identifier: Apache-2.0
// The moment of a fault, and reading what the crashed user polluted.
#include <dlfcn.h>
#include <signal.h>
#include <ucontext.h>

#include "operations.hpp"
#include "peer.hpp"

namespace vmsrs::bench {
namespace {

// The library's own sigaction() would have its handler in front.
const auto libc_sigaction = reinterpret_cast<decltype(&sigaction)>(dlsym(RTLD_NEXT, "sigaction"));

constexpr std::uint64_t kNowhere = 0x0000'6b6f'6f62'0000;  // nothing is ever mapped there
constexpr unsigned kStoreBytes = 7;  // length of the instruction below: movq $0, (%rax)

std::uint64_t volatile began;
std::uint64_t volatile reached;

[[gnu::noinline]] void fault_now() {
  began = now_ns();
  asm volatile("movq $0, (%0)" : : "a"(kNowhere) : "memory");
}

// As little as a handler can do: it takes the time, and steps over the store.
void bare_handler(int, siginfo_t*, void* context) {
  reached = now_ns();
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += kStoreBytes;
}

double bare_fault() {
  struct sigaction bare {};
  struct sigaction before {};
  bare.sa_sigaction = bare_handler;
  bare.sa_flags = SA_SIGINFO | SA_ONSTACK;
  libc_sigaction(SIGSEGV, &bare, &before);
  fault_now();
  libc_sigaction(SIGSEGV, &before, nullptr);
  return static_cast<double>(reached - began);
}

// on_crash is called as soon as suppression is in force.
double user_fault(std::uint64_t* words) {
  reached = began;
  const int outcome = vmsrs::run_user(
      1,
      [&] {
        vmsrs::store(words, std::uint64_t{1});
        fault_now();
      },
      [] { reached = now_ns(); });
  if (outcome != VMSRS_SUPPRESSED) give_up("a fault was not contained");
  return static_cast<double>(reached - began);
}

// The engine reads and writes a granule and its claim that this processor has just had, and this
// processor reads the granule again.
double least_restore_ns() {
  const Peer peer(2 * kLineWords, [](std::uint64_t* shared) {
    volatile std::uint64_t* const lines = shared;
    for (std::size_t i = 0; i < 2 * kLineWords; ++i) lines[i] = lines[i] + 1;
  });
  volatile std::uint64_t* const lines = peer.shared();
  return median_ping_ns(
      peer, [&] { *peer.shared() = peer.shared()[kLineWords] = 0; }, [&] { (void)lines[0]; });
}

}  // namespace

void fault(HostedBench&) {
  std::uint64_t* const words = HostedBench::memory(VMSRS_PAGE_BYTES, true);
  std::vector<double> bare, ours;
  for (unsigned round = 0; round < rounds(2000); ++round) {
    bare.push_back(bare_fault());
    ours.push_back(user_fault(words));
  }
  report("fault_bare_ns", median(bare), "ns", "a fault to the first line of a bare signal handler");
  report("fault_ns", median(ours), "ns", "a fault to suppression in force");
  report("fault_ratio", median(ours) / median(bare), "", "the second over the first");
  report("fault_least_ratio", (median(bare) + ping_pong_ns()) / median(bare), "",
         "the same of a bare handler and a bare ping-pong: telling the engine is one at the least");
}

void restore(HostedBench&) {
  constexpr std::size_t kGranules = 64;
  std::uint64_t* const words = HostedBench::memory(kGranules * kGranuleBytes, true);
  std::vector<double> times;
  for (unsigned round = 0; round < rounds(200); ++round) {
    const WaitingUsers crashed(1, true, words, kGranules);
    vmsrs_user_begin(2);
    times.push_back(time_each(kGranules, [&] {
      for (std::size_t i = 0; i < kGranules; ++i) Monitored::load(words + i * kGranuleWords);
    }));
    vmsrs_user_end();
  }
  report("restore_ns", median(times), "ns",
         "the first load of a granule that a crashed user polluted, its trap included");
  report("restore_least_ns", least_restore_ns(), "ns",
         "of it, a ping-pong and two lines that go there and one that comes back");
}

}  // namespace vmsrs::bench
