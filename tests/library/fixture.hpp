// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <vmsrs/abi.h>
#include <vmsrs/vmsrs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// The engine in the test's own process, under the library: what the hypervisor is under a server.
namespace vmsrs::test {

// Everything the seam does that a test may want to see or bend.
struct SeamState {
  std::atomic<std::uint64_t> call_count{0};
  std::atomic<std::uint64_t> touch_count{0};
  // Every n-th call finds a page not present, as if Linux had just taken it; 0: never.
  std::atomic<std::uint32_t> touch_every{0};
  // As on the hypervisor: nothing is fetched for a call before it is made.
  std::atomic<bool> without_call_buffer{false};
  // The engine is abandoned: as the hypervisor answers after a contradiction. There is no way back.
  std::atomic<bool> no_engine{false};
  // Called before each call, with all signals blocked; for interleavings. May be empty.
  std::atomic<void (*)(std::uint64_t call)> before_call{nullptr};
};
extern SeamState seam;

inline constexpr const char* kServerName = "test";
inline constexpr std::size_t kRegionBytes = 256 * 1024;

// A secret file of mode 0400 with the test server's secret. Removed by the destructor.
class SecretFile {
 public:
  explicit SecretFile(const std::string& content = good_content(), unsigned mode = 0400);
  ~SecretFile();
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;
  const char* path() const { return path_.c_str(); }
  static std::string good_content();

 private:
  std::string path_;
};

// fork() while no thread is inside a call.
int fork_between_calls();

// Makes the engine (once a process) and the server's definition.
void start_engine();
// All of the engine's invariants hold; the library's service thread answers for the mirror.
void check_invariants();
// What `vmsrs_user_number` named, as an operator names it.
void suppress_as_operator(std::uint64_t user_number);
// What an operator is shown of a user that has not finished: its label, or that there is no user.
std::string label_seen(std::uint64_t user_number);
inline const std::string kNoSuchUser = "no such user";
// All events that nobody has taken yet. Only one process may do so.
std::vector<vmsrs_event> take_events();
// What an operator wants done about faults: enum vmsrs_server_containment.
void contain_as_operator(std::uint32_t mode);
// What the engine counts for the server.
vmsrs_server_info server_info();

// An earlier process of the server, which has died: it profiled a page with the name, in granules
// of 8 bytes, and committed `value` to its first word; all others hold `rest`.
void leave_behind(const char* name, std::uint64_t value, std::uint64_t rest);

// A server attached, with one region of granule 8 that holds 1, 2, 3, ... in 64-bit words. At the
// end: nobody is left, every invariant holds, and the server is detached.
class AttachedServer {
 public:
  explicit AttachedServer(std::uint32_t fault_limit = 0, std::uint32_t suppression_limit_ms = 0,
                          bool signal_mask_stays = false, std::uint32_t stuck_limit_ms = 0,
                          std::uint32_t exposed_sample_every = 0);
  // Server, secret and mechanism are the fixture's.
  explicit AttachedServer(vmsrs_options options);
  ~AttachedServer();
  AttachedServer(const AttachedServer&) = delete;
  AttachedServer& operator=(const AttachedServer&) = delete;

  std::uint64_t* words() { return words_; }
  static constexpr std::size_t word_count() { return kRegionBytes / 8; }
  // Is every word what the constructor put there?
  bool is_pristine() const;
  // An address range of this process at which nothing is mapped, or nothing may be accessed.
  std::uint64_t* wild() { return wild_; }

 private:
  SecretFile secret_;
  std::uint64_t* words_ = nullptr;
  std::uint64_t* wild_ = nullptr;
};

// As a fixture: with a time bound that a slow machine under a sanitizer does not reach.
struct DefaultServer : AttachedServer {
  DefaultServer() : AttachedServer(0, 300'000) {}
};

// Of the calling thread: bit i for signal i.
inline std::uint64_t blocked_signals() {
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, nullptr, &set);
  std::uint64_t bits = 0;
  for (int signal = 1; signal < 64; ++signal)
    bits |= std::uint64_t{sigismember(&set, signal) == 1} << signal;
  return bits;
}

// The processor's trap flag: a SIGTRAP after every instruction.
inline void start_single_stepping() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"
      :
      :
      : "memory", "cc");
}
inline void stop_single_stepping() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), "
      "%%rsp"
      :
      :
      : "memory", "cc");
}

template <typename Body>
int run(Body body, void (*on_crash)(void*) = nullptr, void* argument = nullptr,
        std::uint64_t label = 7) {
  return vmsrs_run_user(
      label, [](void* p) { (*static_cast<Body*>(p))(); }, &body, on_crash, argument);
}

}  // namespace vmsrs::test
