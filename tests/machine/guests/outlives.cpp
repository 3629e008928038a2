// SPDX-License-Identifier: Apache-2.0
// A server in a guest whose kernel ends under it. The first start of the machine's guest makes a
// named region, lets users finish and crash in it, and ends the kernel while one user is under
// suppression and another has not finished; the next start finds the region as the finished users
// left it, to the byte, and serves. The disk, if one is named, is written to meanwhile, and works
// again after each start.
//
// usage: outlives STARTS MEANS [DISK]
//   STARTS  so many in all
//   MEANS   what ends the kernel: a letter for /proc/sysrq-trigger, or `reset`: announced, which
//           leaves nothing
//   DISK    a device that may be overwritten
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>
#include <x86intrin.h>

#include <array>
#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "guest.hpp"

namespace {

constexpr std::size_t kWords = 8192, kHeaderWords = 8;
constexpr std::uint64_t kUsers = 200;  // of each start
enum Header { kStarts, kEndedAt };     // words of the region
using Words = std::array<std::uint64_t, kWords>;

struct Write {
  std::size_t word;
  std::uint64_t value;
};
// What user number `user` writes, and whether it crashes before its end.
struct Plan {
  std::array<Write, 8> writes;
  std::size_t count;
  bool crashes;
};
Plan plan_of(std::uint64_t user) {
  Plan plan{};
  std::uint64_t random = user * 0x9e3779b97f4a7c15 + 1;
  const auto next = [&random] {  // xorshift64
    random ^= random << 13;
    random ^= random >> 7;
    return random ^= random << 17;
  };
  plan.count = 1 + next() % plan.writes.size();
  for (std::size_t i = 0; i < plan.count; ++i)
    plan.writes[i] = {kHeaderWords + next() % (kWords - kHeaderWords), user << 32 | i};
  plan.crashes = user % 7 == 3;
  return plan;
}

void fault() {
  volatile int* volatile wild = nullptr;
  *wild = 1;
}

// The region's values after `starts` starts, but for the header.
void apply(Words& words, std::uint64_t starts) {
  for (std::uint64_t user = 0; user < starts * kUsers; ++user) {
    const Plan plan = plan_of(user);
    for (std::size_t i = 0; i < plan.count && !plan.crashes; ++i)
      words[plan.writes[i].word] = plan.writes[i].value;
  }
}

void write_all(std::uint64_t* words, const Plan& plan) {
  for (std::size_t i = 0; i < plan.count; ++i)
    vmsrs::store(&words[plan.writes[i].word], plan.writes[i].value);
}

constexpr std::size_t kDiskBytes = 1 << 20;
const char* disk_name = nullptr;
int open_disk() {
  const int disk = open(disk_name, O_RDWR | O_DIRECT | O_CLOEXEC);
  EXPECT(disk >= 0);
  return disk;
}

// Written and read again past all caches.
void use_disk(std::uint64_t value) {
  const int disk = open_disk();
  auto* const there = static_cast<std::uint64_t*>(std::aligned_alloc(4096, kDiskBytes));
  auto* const back = static_cast<std::uint64_t*>(std::aligned_alloc(4096, kDiskBytes));
  for (std::size_t i = 0; i < kDiskBytes / 8; ++i) there[i] = value * i;
  EXPECT(pwrite(disk, there, kDiskBytes, 0) == kDiskBytes &&
         pread(disk, back, kDiskBytes, 0) == kDiskBytes);
  EXPECT(std::memcmp(there, back, kDiskBytes) == 0);
  close(disk);
  std::free(there);
  std::free(back);
}

void keep_disk_busy() {
  const int disk = open_disk();
  void* const block = std::aligned_alloc(4096, kDiskBytes);
  std::memset(block, 0x5a, kDiskBytes);
  for (off_t at = 0;; at = (at + 1) % 16)
    EXPECT(pwrite(disk, block, kDiskBytes, at * off_t{kDiskBytes}) == kDiskBytes);
}

// The hypervisor's events of all starts before, none twice and none missing: it has seen each end.
void check_events(std::uint64_t token, std::uint64_t starts) {
  std::uint64_t counts[VMSRS_EVENT_TYPE_COUNT] = {}, boot = 0, sequence = 0;
  for (;;) {
    vmsrs_event page[16];
    guest::Call call{.number = VMSRS_CALL_MGMT_EVENTS,
                     .rdi = token,
                     .rsi = sequence + 1,
                     .rdx = reinterpret_cast<std::uint64_t>(page),
                     .r10 = sizeof page};
    EXPECT_EQUAL(guest::hypercall(call), std::uint64_t{VMSRS_OK});
    if (call.rdx == 0) break;
    for (std::uint64_t i = 0; i < call.rdx; ++i) {
      EXPECT_EQUAL(page[i].sequence, ++sequence);
      EXPECT(page[i].boot != 0 && (boot == 0 || page[i].boot == boot));
      boot = page[i].boot;
      ++counts[page[i].type];
    }
  }
  EXPECT_EQUAL(counts[VMSRS_EVENT_ATTACHED], starts + 1);
  EXPECT_EQUAL(counts[VMSRS_EVENT_REAPED], starts);
  EXPECT_EQUAL(counts[VMSRS_EVENT_SUPPRESSION_BEGAN], counts[VMSRS_EVENT_SUPPRESSION_ENDED]);
  std::uint64_t crashes = starts;  // who is caught by the end
  for (std::uint64_t user = 0; user < starts * kUsers; ++user) crashes += plan_of(user).crashes;
  EXPECT_EQUAL(counts[VMSRS_EVENT_CRASH], crashes);
}

// Two that the end finds at work: they write what nobody is to see again.
void be_caught(std::uint64_t* words, bool crashed, std::atomic<int>& ready) {
  vmsrs::run_user(
      9000,
      [&] {
        for (std::size_t i = kHeaderWords; i < kWords; i += 16)
          vmsrs::store(&words[i + (crashed ? 8 : 0)], std::uint64_t{0xbad});
        if (crashed) fault();
        ++ready;
        for (;;) pause();
      },
      [] {});
}

[[noreturn]] void end_kernel(std::uint64_t* words, const char* means) {
  static std::atomic<int> ready{0};
  for (const bool crashed : {true, false})
    std::thread([=] { be_caught(words, crashed, ready); }).detach();
  while (ready < 2) usleep(1000);
  if (disk_name != nullptr) {
    std::thread(keep_disk_busy).detach();
    usleep(100000);
  }
  EXPECT(words[kHeaderWords] == 0xbad);  // there to be forgotten
  std::printf("the kernel ends\n");
  std::fflush(stdout);
  const int trigger = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
  EXPECT(vmsrs::run_user(
             1, [&] { vmsrs::store(&words[kEndedAt], std::uint64_t{__rdtsc()}); }, [] {}) ==
         VMSRS_FINISHED);
  EXPECT(write(trigger, means, 1) == 1);
  for (;;) pause();
}

// The pattern lies in committed memory then, and is not to be found in the machine afterwards.
[[noreturn]] void reset_machine(std::uint64_t token, std::uint64_t* words) {
  auto write_pattern = [&] {
    for (std::size_t i = kHeaderWords; i < kWords; ++i)
      vmsrs::store(&words[i], std::uint64_t{0x5ec2e7005ec2e7ff});
  };
  EXPECT(vmsrs::run_user(1, write_pattern, [] {}) == VMSRS_FINISHED);
  guest::Call announce{.number = VMSRS_CALL_MGMT_ANNOUNCE_RESET, .rdi = token, .rsi = 1};
  EXPECT_EQUAL(guest::hypercall(announce), std::uint64_t{VMSRS_OK});
  reboot(RB_AUTOBOOT);
  guest::fail("a reset was survived");
}

}  // namespace

int main(int argc, char** argv) {
  EXPECT(argc >= 3);
  if (argc > 3) disk_name = argv[3];
  const std::uint64_t starts_wanted = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t token = guest::open_management();
  guest::define_server(token, "outlives");
  FILE* const secret = std::fopen("/run/secret", "w");
  for (const char c : std::string(guest::kSecret))
    std::fprintf(secret, "%02x", static_cast<unsigned char>(c));
  std::fputc('\n', secret);
  EXPECT(std::fclose(secret) == 0 && chmod("/run/secret", 0400) == 0);
  vmsrs_options options{};
  options.server_name = "outlives";
  options.secret_file = "/run/secret";
  options.suppression_limit_ms = 600000;
  options.site_crash_limit = options.crash_limit = 1000;
  if (vmsrs_attach(&options) != 0) guest::fail(vmsrs_error_message());
  auto* const words = static_cast<std::uint64_t*>(
      mmap(nullptr, sizeof(Words), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const int profiled = profile_named(words, sizeof(Words), 8, "values");
  if (profiled < 0) guest::fail(vmsrs_error_message());

  const std::uint64_t now = __rdtsc();
  const std::uint64_t starts = words[kStarts];
  check_events(token, starts);
  EXPECT_EQUAL(profiled == VMSRS_PROFILED_KEPT, starts > 0);
  if (disk_name != nullptr) use_disk(starts + 1);
  const auto expected = std::make_unique<Words>();
  apply(*expected, starts);
  std::size_t wrong = 0;
  for (std::size_t i = kHeaderWords; i < kWords; ++i) wrong += words[i] != (*expected)[i];
  if (starts > 0) {
    const std::uint64_t hertz = guest::stats(token).cycles_per_second;
    std::printf("start %" PRIu64
                ": %zu of %zu words differ; %.2f s from the kernel's end to here\n",
                starts + 1, wrong, kWords - kHeaderWords,
                static_cast<double>(now - words[kEndedAt]) / static_cast<double>(hertz));
  }
  EXPECT_EQUAL(wrong, 0u);

  std::uint64_t crashed = 0;
  for (std::uint64_t user = starts * kUsers; user < (starts + 1) * kUsers; ++user) {
    const Plan plan = plan_of(user);
    const int outcome = vmsrs::run_user(
        user,
        [&] {
          write_all(words, plan);
          if (plan.crashes) fault();
        },
        [] {});
    EXPECT_EQUAL(outcome == VMSRS_FINISHED, !plan.crashes);
    crashed += plan.crashes;
  }
  EXPECT(crashed > 0);
  EXPECT(vmsrs::run_user(
             1, [&] { vmsrs::store(&words[kStarts], starts + 1); }, [] {}) == VMSRS_FINISHED);
  apply(*expected, starts + 1);
  for (std::size_t i = kHeaderWords; i < kWords; ++i)
    EXPECT_EQUAL(vmsrs::load(&words[i]), (*expected)[i]);
  if (std::string(argv[2]) == "reset") reset_machine(token, words);
  if (starts + 1 < starts_wanted) end_kernel(words, argv[2]);
  EXPECT(vmsrs_detach() == 0);
  std::printf("RESULT: SUCCESS\n");
}
