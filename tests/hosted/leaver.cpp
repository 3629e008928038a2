// SPDX-License-Identifier: Apache-2.0
// A server that leaves in the middle of a user's scope, and the one that comes after it.
//
// usage: leaver NAME SECRET_FILE HOW   exit, quick_exit, return, main_thread: how it leaves, after
// a user
//                                      that finished, in one that stored something; look: prints
//                                      what the word holds; refused: profiles what overlaps, often;
//                                      afresh: calls Init_profile; fault: stays, after a user's
//                                      fault, until it is killed
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

namespace {

constexpr std::uint64_t kCommitted = 1234, kUnfinished = 666;

[[noreturn]] void die(const char* what) {
  std::printf("%s: %s\n", what, vmsrs_error_message());
  std::fflush(stdout);
  _exit(1);
}

std::uint64_t* profile_page() {
  void* const page =
      mmap(nullptr, VMSRS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (profile_named(page, VMSRS_PAGE_BYTES, 8, "page") < 0) die("profile");
  return static_cast<std::uint64_t*>(page);
}

// 1,000 attempts, for each of which claims of half a MiB are prepared.
int be_refused() {
  constexpr std::size_t kBytes = 64 * VMSRS_PAGE_BYTES;
  void* const at =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (profile(at, kBytes, 8) != 0) die("profile");
  for (unsigned i = 0; i < 1000; ++i)
    if (profile(at, kBytes, 8) != VMSRS_ERROR_ARGUMENT) die("another error");
  std::printf("refused\n");
  return vmsrs_detach() == 0 ? 0 : 1;
}

// A function that dumps and events can name.
extern "C" __attribute__((noinline, noclone)) void leaver_that_faults(volatile std::uint64_t* to) {
  *to = 1;
}

[[noreturn]] void fault_and_stay() {
  if (vmsrs::run_user(
          3, [] { leaver_that_faults(nullptr); }, [] {}) != VMSRS_SUPPRESSED)
    die("fault");
  std::printf("suppressed\n");
  std::fflush(stdout);
  for (;;) pause();
}

void leave(const char* how, std::uint64_t* word) {
  if (vmsrs_user_begin(2) != 0) die("begin");
  vmsrs::store(word, kUnfinished);
  if (vmsrs::load(word) != kUnfinished) die("its own store");
  if (std::strcmp(how, "exit") == 0) std::exit(0);
  if (std::strcmp(how, "quick_exit") == 0) std::quick_exit(0);
  // The last thread that ends ends the process; the library's own goes on.
  if (std::strcmp(how, "main_thread") == 0) {
    std::thread([] {
      usleep(50'000);
      _exit(0);
    }).detach();
    pthread_exit(nullptr);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  vmsrs_options options{};
  options.server_name = arguments[1];
  options.secret_file = arguments[2];
  if (vmsrs_attach(&options) != 0) die("attach");
  if (std::strcmp(arguments[3], "refused") == 0) return be_refused();
  if (std::strcmp(arguments[3], "afresh") == 0) {
    if (Init_profile() != 0) die("Init_profile");
    std::printf("afresh\n");
    return vmsrs_detach() == 0 ? 0 : 1;
  }
  std::uint64_t* const word = profile_page();
  if (std::strcmp(arguments[3], "fault") == 0) fault_and_stay();
  if (std::strcmp(arguments[3], "look") == 0) {
    std::printf("%llu\n", static_cast<unsigned long long>(vmsrs::load(word)));
    return vmsrs_detach() == 0 ? 0 : 1;
  }
  if (vmsrs::run_user(
          1, [&] { vmsrs::store(word, kCommitted); }, [] {}) != VMSRS_FINISHED)
    die("commit");
  leave(arguments[3], word);
  return 0;
}
