// SPDX-License-Identifier: Apache-2.0
// A server to be killed: its threads commit and crash without end.
//
// usage: victim NAME SECRET_FILE serve [FILE]  until it is killed; FILE says where its threads are
//        victim NAME SECRET_FILE fork        the same, and a child of it lives on for a while
//        victim NAME SECRET_FILE threads N   kills its own threads at N random points, and looks at
//                                            what they leave; says where they were
//        victim NAME SECRET_FILE named FILE  as serve, in a named region: looks first at what its
//                                            predecessor, killed, has left; FILE is their notebook
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "victim_places.hpp"

namespace {

using namespace vmsrs::test;

constexpr std::size_t kGroups = kVictimThreads, kGroupWords = 64;
constexpr std::size_t kBytes = kGroups * kGroupWords * 8;

std::uint64_t* words;
int* volatile nowhere = nullptr;
Places own_places;
Places* places = &own_places;

void enter(std::size_t group, Place place) {
  places->of[group].store(place, std::memory_order_release);
}

[[noreturn]] void die(const char* what) {
  std::printf("%s: %s\n", what, vmsrs_error_message());
  std::exit(1);
}

// One user: all words of its group get the same number, one by one or as a range. All or none of
// them counts.
int stamp(std::size_t group, std::uint64_t number, bool faults) {
  std::uint64_t* const mine = words + group * kGroupWords;
  auto body = [&] {
    enter(group, kStoring);
    for (std::size_t i = 0; i < kGroupWords / 2; ++i) vmsrs::store(&mine[i], number);
    if (faults) {
      *nowhere = 1;
      enter(group, kSuppressed);
    }
    std::uint64_t rest[kGroupWords / 2];
    for (std::uint64_t& word : rest) word = number;
    vmsrs_store_range(&mine[kGroupWords / 2], rest, sizeof rest);
    if (!faults) enter(group, kEnding);
  };
  const int outcome = vmsrs::run_user(group, body, [] {});
  enter(group, kBetweenUsers);
  return outcome;
}

void stamp_without_end(std::size_t group) {
  for (std::uint64_t number = 1;; ++number) stamp(group, number, number % 5 == 0);
}

constexpr std::size_t kServing = 3;  // groups, each with its thread

// A page of a file: it outlives the process.
template <typename Content>
Content* open_page(const char* path) {
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, VMSRS_PAGE_BYTES) != 0) std::exit(1);
  void* const memory = mmap(nullptr, VMSRS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) std::exit(1);
  return static_cast<Content*>(memory);
}

// ---- named; its notebook has, by group, the number whose commit was last reported to the process

bool faults(std::uint64_t number) { return number % 5 == 0; }

void stamp_and_note(std::size_t group, std::uint64_t* notebook) {
  for (std::uint64_t number = words[group * kGroupWords] + 1;; ++number)
    if (stamp(group, number, faults(number)) == VMSRS_FINISHED)
      __atomic_store_n(&notebook[group], number, __ATOMIC_RELEASE);
}

// Each group is whole, nothing in it is a crashed user's, and it holds the number that was noted or
// the one after it: the process may have died between commit and note.
void look_at_what_is_left(bool kept, std::uint64_t* notebook) {
  unsigned torn = 0, wrong = 0;
  for (std::size_t group = 0; group < kServing; ++group) {
    const std::uint64_t* const mine = words + group * kGroupWords;
    for (std::size_t i = 0; i < kGroupWords; ++i) torn += mine[i] != mine[0];
    const std::uint64_t noted = notebook[group];
    const std::uint64_t next = noted + (faults(noted + 1) ? 2 : 1);
    wrong += mine[0] != noted && mine[0] != next;
    notebook[group] = mine[0];  // seen: from here on it must not be lost either
  }
  std::printf("kept=%d torn=%u wrong=%u\n", kept, torn, wrong);
  std::fflush(stdout);
}

// ---- threads

thread_local std::size_t own_group;
std::atomic<unsigned> hits[kPlaceCount];

// The thread ends here and now, as the system call alone ends it: no destructor, nothing given
// back.
void end_thread(int) {
  ++hits[places->of[own_group]];
  syscall(SYS_exit, 0);
}

// After a random time or, so that rare places are hit as well, when the thread comes by there.
void wait_for(std::size_t group, std::uint32_t place, std::mt19937& random) {
  if (place == kBetweenUsers) usleep(static_cast<useconds_t>(random() % 3000));
  for (unsigned i = 0; i < 1'000'000 && places->of[group] != place; ++i) {
  }
  for (unsigned i = random() % 512; i > 0; --i) asm volatile("pause");
}

int kill_threads(unsigned points) {
  struct sigaction action {};
  action.sa_handler = end_thread;
  sigaction(SIGUSR1, &action, nullptr);
  std::mt19937 random(std::random_device{}());
  unsigned torn = 0, killed = 0;
  while (killed < points) {
    std::atomic<pid_t> ids[kGroups] = {};
    for (std::size_t group = 0; group < kGroups; ++group)
      std::thread([&ids, group] {
        own_group = group;
        ids[group] = gettid();
        stamp_without_end(group);
      }).detach();
    for (const std::atomic<pid_t>& id : ids)
      while (id == 0) usleep(100);
    for (std::size_t group = 0; group < kGroups; ++group, ++killed) {
      wait_for(group, killed % kPlaceCount, random);
      syscall(SYS_tgkill, getpid(), ids[group].load(), SIGUSR1);
    }
    usleep(700'000);  // vmsrs-hosted notices what has ended, and collects its users
    for (std::size_t group = 0; group < kGroups; ++group) {
      const std::uint64_t first = vmsrs::load(&words[group * kGroupWords]);
      for (std::size_t i = 0; i < kGroupWords; ++i)
        torn += vmsrs::load(&words[group * kGroupWords + i]) != first;
    }
  }
  std::printf("killed=%u storing=%u ending=%u suppressed=%u torn=%u\n", killed,
              hits[kStoring].load(), hits[kEnding].load(), hits[kSuppressed].load(), torn);
  std::fflush(stdout);
  for (;;) pause();  // the test looks at the engine, then kills
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return 2;
  vmsrs_options options{};
  options.server_name = arguments[1];
  options.secret_file = arguments[2];
  options.site_crash_limit = options.crash_limit = 1'000'000;  // it crashes all the time
  // The one before this one may have been killed a moment ago.
  int error = vmsrs_attach(&options);
  for (unsigned i = 0; i < 1000 && error == VMSRS_ERROR_STATE; ++i, error = vmsrs_attach(&options))
    usleep(1000);
  if (error != 0) die("vmsrs_attach");
  words = static_cast<std::uint64_t*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (Init_profile() != 0) die("Init_profile");
  std::vector<std::thread> threads;
  if (std::strcmp(arguments[3], "named") == 0) {
    std::memset(words, 0x5a, kBytes);
    auto* const notebook = open_page<std::uint64_t>(arguments[4]);
    if (notebook[0] == 0) std::memset(words, 0, kBytes);
    const int profiled = profile_named(words, kBytes, 16, "words");
    if (profiled < 0) die("profile_named");
    look_at_what_is_left(profiled == VMSRS_PROFILED_KEPT, notebook);
    for (std::size_t group = 0; group < kServing; ++group)
      threads.emplace_back(stamp_and_note, group, notebook);
    for (std::thread& thread : threads) thread.join();
  }
  if (profile(words, kBytes, 16) != 0) die("profile");
  if (std::strcmp(arguments[3], "threads") == 0)
    return kill_threads(static_cast<unsigned>(std::atoi(arguments[4])));
  if (std::strcmp(arguments[3], "fork") == 0 && fork() == 0) {
    close(STDOUT_FILENO);
    alarm(15);
    for (;;) pause();
  }
  if (count == 5) places = open_page<Places>(arguments[4]);
  for (std::size_t group = 0; group < kServing; ++group)
    threads.emplace_back(stamp_without_end, group);
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::thread& thread : threads) thread.join();
}
