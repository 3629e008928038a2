// SPDX-License-Identifier: Apache-2.0
// A server whose hypervisor contradicts itself (../contradictions.cpp) while users are at work on
// all processors: in the call by which one's crash is told. Linux and the server go on: memory is
// plain, what was hidden stays hidden, and the program has been told in a line.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "../contradictions.hpp"
#include "guest.hpp"

namespace {

constexpr std::size_t kWords = 8192, kWorkers = 3;
constexpr std::size_t kShared = 8, kOfWorker = 1024;  // words
constexpr std::uint64_t kUsersBehind = 200;           // of each worker, after the contradiction

std::uint64_t* words;
std::atomic<bool> contradicted{false};
std::array<std::atomic<std::uint64_t>, kWorkers> users_done;

// Users one after the other, each of which adds one to its worker's words, and owns for a while a
// word that all workers want.
void work(std::size_t worker) {
  guest::pin_to(static_cast<int>(worker % 2));
  std::uint64_t* const mine = words + kOfWorker * (worker + 1);
  std::uint64_t behind = 0;
  for (std::uint64_t user = 1; behind < kUsersBehind; ++user) {
    const int outcome = vmsrs::run_user(
        worker,
        [&] {
          for (std::size_t i = 0; i < 16; ++i) vmsrs::store(&mine[i * 8], user);
          vmsrs::store(&words[kShared], user);
          for (std::size_t i = 0; i < 16; ++i) EXPECT_EQUAL(vmsrs::load(&mine[i * 8]), user);
        },
        [] {});
    EXPECT_EQUAL(outcome, int{VMSRS_FINISHED});
    for (std::size_t i = 0; i < 16; ++i) EXPECT_EQUAL(mine[i * 8], user);
    users_done[worker] = user;
    behind += contradicted;
  }
}

void wait_for_users(std::uint64_t count) {
  for (std::atomic<std::uint64_t>& done : users_done)
    while (done < count) usleep(1000);
}

// The user that crashes, with the label that the hypervisor stumbles over.
int be_the_cause() {
  guest::pin_to(1);
  return vmsrs::run_user(
      77,
      [] {
        EXPECT_EQUAL(vmsrs_user_label(kFault, std::strlen(kFault)), 0);
        vmsrs::store(&words[64], std::uint64_t{666});
        volatile int* volatile wild = nullptr;
        *wild = 1;
        vmsrs::store(&words[72], std::uint64_t{666});
        guest::fail("a crashed user ran on, without an engine");
      },
      [] {});
}

void attach(std::uint64_t token) {
  guest::define_server(token, "server");
  FILE* const secret = std::fopen("/run/secret", "w");
  for (const char c : std::string(guest::kSecret))
    std::fprintf(secret, "%02x", static_cast<unsigned char>(c));
  std::fputc('\n', secret);
  EXPECT(std::fclose(secret) == 0 && chmod("/run/secret", 0400) == 0);
  vmsrs_options options{};
  options.server_name = "server";
  options.secret_file = "/run/secret";
  if (vmsrs_attach(&options) != 0) guest::fail(vmsrs_error_message());
  words = static_cast<std::uint64_t*>(
      mmap(nullptr, kWords * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (profile(words, kWords * 8, 8) < 0) guest::fail(vmsrs_error_message());
}

void expect_hidden(std::uint64_t token) {
  const int memory = open("/dev/mem", O_RDWR | O_SYNC);
  EXPECT(memory >= 0);
  for (const guest::Range& range : guest::hidden_ranges(guest::stats(token).hidden_bytes)) {
    const std::uint64_t before = guest::stats(token).hidden_access_count;
    void* const at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory,
                          static_cast<off_t>(range.begin));
    EXPECT(at != MAP_FAILED);
    const int writer = guest::in_child([&] {
      signal(SIGSEGV, SIG_DFL);
      signal(SIGBUS, SIG_DFL);
      *static_cast<volatile char*>(at) = 1;
      return 1;
    });
    EXPECT(writer == -SIGSEGV || writer == -SIGBUS);
    EXPECT_EQUAL(guest::stats(token).hidden_access_count, before + 1);
  }
}

}  // namespace

int main() {
  const std::uint64_t token = guest::open_management();
  attach(token);
  EXPECT_EQUAL(guest::stats(token).engine_abandoned, 0u);
  std::vector<std::thread> workers;
  for (std::size_t i = 0; i < kWorkers; ++i) workers.emplace_back(work, i);
  wait_for_users(20);
  int outcome = -100;
  std::thread([&] { outcome = be_the_cause(); }).join();
  contradicted = true;
  EXPECT_EQUAL(outcome, int{VMSRS_UNWOUND});
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQUAL(words[72], 0u);
  words[3] = 5;
  EXPECT_EQUAL(vmsrs::load(&words[3]), std::uint64_t{5});
  EXPECT_EQUAL(guest::stats(token).engine_abandoned, 1u);
  EXPECT_EQUAL(vmsrs_detach(), int{VMSRS_ERROR_NO_PLATFORM});
  std::printf("%s\n", vmsrs_error_message());
  expect_hidden(token);
  guest::Call server{.number = VMSRS_CALL_MGMT_SERVER, .rdi = token};
  EXPECT_EQUAL(guest::hypercall(server), std::uint64_t{VMSRS_NO_ENGINE});
  // A fault is the program's own again.
  const int faulting = guest::in_child([] {
    volatile int* volatile wild = nullptr;
    *wild = 1;
    return 0;
  });
  EXPECT_EQUAL(faulting, -SIGSEGV);
  std::printf("RESULT: SUCCESS\n");
}
