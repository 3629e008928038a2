// SPDX-License-Identifier: Apache-2.0
// usage: strict on|off [--secret-file FILE] [--wait]
//
// One user of two stores plainly where another one's committed words are, and crashes by a wild
// pointer later, unless the first store was one too: what does the other one see meanwhile?
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vmsrs/vmsrs.hpp>

namespace {

constexpr std::size_t kBytes = 64 * 4096;
constexpr std::size_t kWords = kBytes / 8;
constexpr std::size_t kWild = 5000;  // the word that is stored to
constexpr std::uint64_t kWrong = 666;

std::uint64_t* words;
// 1: the plain store is over. 2: it has been looked at. 3: the other user has finished meanwhile.
std::atomic<int> stage{0};
std::atomic<int> stage_at_crash{-1};
std::string reason;

std::uint64_t value_of(std::size_t i) { return i * 7 + 1; }

void wait_until(int wanted) {
  while (stage < wanted) usleep(1000);
}

void on_crash(void*) {
  stage_at_crash = stage.load();
  char text[256];
  std::snprintf(text, sizeof text, "%s", vmsrs_error_message());
  reason.assign(text);
}

// What the other one sees of the word, loading as the library loads.
bool others_are_right() {
  std::uint64_t seen = 0;
  vmsrs::run_user(2, [&] {
    seen = vmsrs::load(&words[kWild]);
    vmsrs::store(&words[0], vmsrs::load(&words[0]) + 1);
  });
  return seen == value_of(kWild);
}

int refuse() {
  std::printf("strict   refused %s\n", vmsrs_error_message());
  return 3;
}

int play(bool on) {
  words = static_cast<std::uint64_t*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::size_t i = 0; i < kWords; ++i) words[i] = value_of(i);
  reason.reserve(256);
  if (profile(words, kBytes, 16) != 0 || (on && vmsrs_make_strict(words) != 0)) return refuse();
  std::printf("strict   in_force %d\n", vmsrs_is_strict(words));
  bool right_meanwhile = false;
  std::thread other([&] {
    wait_until(1);
    right_meanwhile = others_are_right();
    stage = 2;
  });
  const int outcome = vmsrs::run_user(
      1,
      [] {
        vmsrs::store(&words[8], kWrong);
        *static_cast<volatile std::uint64_t*>(&words[kWild]) = kWrong;
        stage = 1;
        wait_until(2);
        *reinterpret_cast<volatile std::uint64_t*>(0x1234567890) = kWrong;
      },
      [] { on_crash(nullptr); });
  other.join();
  // What the sweep brings back, in its own time.
  unsigned waited = 0;
  for (; waited < 10'000 && words[kWild] != value_of(kWild); ++waited) usleep(1000);
  std::size_t wrong = words[0] != value_of(0) + 1;
  for (std::size_t i = 1; i < kWords; ++i) wrong += words[i] != value_of(i);
  std::printf("strict   outcome %d\n", outcome);
  std::printf("strict   stage_at_crash %d\n", stage_at_crash.load());
  std::printf("strict   right_meanwhile %d\n", right_meanwhile);
  std::printf("strict   wrong_at_the_end %zu\n", wrong);
  std::printf("strict   reason %s\n", reason.c_str());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  vmsrs_options options{};
  options.server_name = "strict";
  options.secret_file = "/etc/vmsrs/strict.secret";
  bool on = false, wait = false;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = arguments[i];
    if (word == "on")
      on = true;
    else if (word == "--wait")
      wait = true;
    else if (word == "--secret-file" && i + 1 < count)
      options.secret_file = arguments[++i];
    else if (word != "off")
      return 2;
  }
  if (vmsrs_attach(&options) != 0 || Init_profile() != 0) return refuse();
  const int result = play(on);
  if (wait) {
    std::puts("strict   waits");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
  }
  return vmsrs_detach() == 0 ? result : 4;
}
