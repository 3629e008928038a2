// SPDX-License-Identifier: Apache-2.0
// One of several processes of a server, which share a region: each has one word of every granule.
//
// usage: worker NAME SECRET_FILE found|join NUMBER FILE  works until it is killed. found: profiles
// the
//                                   region; join: has it at an address of its own. FILE is the
//                                   notebook of all: what each has begun to commit, and committed
//        worker NAME SECRET_FILE fork FILE   profiles it, and forks the others
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vmsrs/vmsrs.hpp>

namespace {

constexpr unsigned kWorkers = 4;
constexpr std::size_t kGranuleWords = 8, kGranules = 64;
constexpr std::size_t kBytes = kGranules * kGranuleWords * 8;
constexpr std::uint64_t kDraft = 1ull << 63;  // of a value that is never committed
constexpr const char* kRegion = "notes";

struct Notebook {
  std::atomic<std::uint64_t> begun[kWorkers], committed[kWorkers];
};

std::uint64_t* words;
int* volatile nowhere = nullptr;
Notebook* notebook;

[[noreturn]] void die(const char* what) {
  std::printf("%s: %s\n", what, vmsrs_error_message());
  std::fflush(stdout);
  _exit(1);
}

void attach(const char* name, const char* secret) {
  vmsrs_options options{};
  options.server_name = name;
  options.secret_file = secret;
  options.site_crash_limit = options.crash_limit = 1'000'000;  // it crashes all the time
  if (vmsrs_attach(&options) != 0) die("attach");
}

void found() {
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  words = static_cast<std::uint64_t*>(memory);
  if (profile_named(memory, kBytes, kGranuleWords * 8, kRegion) < 0) die("profile");
}

void join(void* wanted) {
  void* at = nullptr;
  size_t bytes = 0;
  if (vmsrs_profile_join(kRegion, wanted, &at, &bytes) != 0) die("join");
  if (bytes != kBytes || (wanted != nullptr && at != wanted)) die("joined elsewhere");
  words = static_cast<std::uint64_t*>(at);
}

// Every process makes its own mapping strict, and works for less long: protection keys are emulated
// where there are none.
bool is_strict() { return std::getenv("VMSRS_TEST_STRICT") != nullptr; }
unsigned forked_rounds() { return is_strict() ? 24 : 400; }

std::uint64_t& word_of(unsigned worker, std::size_t granule) {
  return words[granule * kGranuleWords + worker];
}

// A user that stores a draft and then `number` to all words of its worker, or faults in between.
int write_all(unsigned worker, std::uint64_t number, bool faults, std::mt19937& random) {
  return vmsrs::run_user(
      number,
      [&] {
        const std::size_t first = random() % kGranules;
        for (const std::uint64_t value : {number | kDraft, number})
          for (std::size_t i = 0; i < kGranules; ++i) {
            vmsrs::store(&word_of(worker, (first + i) % kGranules), value);
            if (faults && value == number && i == kGranules / 2) *nowhere = 1;
          }
        notebook->begun[worker] = number;
      },
      [] {});
}

// All words of a worker hold one number that it has begun to commit; which: its last.
std::uint64_t read_back(unsigned worker) {
  const std::uint64_t number = vmsrs::load(&word_of(worker, 0));
  for (std::size_t i = 1; i < kGranules; ++i)
    if (vmsrs::load(&word_of(worker, i)) != number) die("torn");
  if (number != notebook->committed[worker] && number != notebook->begun[worker]) die("lost");
  return number;
}

// What others have committed shows no drafts, and never goes back.
void look_at_others(std::uint64_t (&seen)[kWorkers][kGranules], std::mt19937& random) {
  vmsrs::run_reader(
      1,
      [&] {
        for (unsigned i = 0; i < 64; ++i) {
          const unsigned worker = random() % kWorkers;
          const std::size_t granule = random() % kGranules;
          const std::uint64_t value = vmsrs::load(&word_of(worker, granule));
          if ((value & kDraft) != 0) die("a draft");
          if (value < seen[worker][granule]) die("an older value");
          seen[worker][granule] = value;
        }
      },
      [] {});
}

// Outside of scopes one sees what unfinished users have written, but nothing of crashed ones. A
// number is in memory only if its worker's user was at work with it.
void look_at_drafts(std::mt19937& random) {
  const unsigned worker = random() % kWorkers;
  const std::uint64_t before = notebook->committed[worker];
  const std::uint64_t value = vmsrs::load(&word_of(worker, random() % kGranules)) & ~kDraft;
  if (value < before) die("something older than what was committed");
}

// A plain store to another worker's word: it faults before it has changed anything.
void store_plainly(unsigned worker, std::mt19937& random) {
  std::uint64_t& word = word_of((worker + 1) % kWorkers, random() % kGranules);
  const int outcome = vmsrs::run_user(
      1, [&] { const_cast<volatile std::uint64_t&>(word) = kDraft; }, [] {});
  if (outcome != VMSRS_SUPPRESSED) die("a plain store to strict memory was made");
  if ((const_cast<const volatile std::uint64_t&>(word) & ~kDraft) == 0 &&
      notebook->committed[(worker + 1) % kWorkers] != 0)
    die("a plain store has changed strict memory");
}

void work(unsigned worker, unsigned rounds) {
  const bool strict = is_strict();
  if (strict && vmsrs_make_strict(words) != 0) die("strict");
  std::mt19937 random(static_cast<unsigned>(getpid()));
  static std::uint64_t seen[kWorkers][kGranules];
  std::uint64_t number = read_back(worker);
  notebook->committed[worker] = number;
  std::printf("ready\n");
  std::fflush(stdout);
  for (unsigned round = 0; round < rounds; ++round) {
    const bool faults = random() % 6 == 0;
    const int outcome = write_all(worker, ++number, faults, random);
    if (outcome != (faults ? VMSRS_SUPPRESSED : VMSRS_FINISHED)) die("another outcome");
    if (outcome == VMSRS_FINISHED) notebook->committed[worker] = number;
    if (read_back(worker) != notebook->committed[worker]) die("not the last commit");
    if (strict && round % 4 == 3) store_plainly(worker, random);
    look_at_others(seen, random);
    for (unsigned i = 0; i < 16; ++i) look_at_drafts(random);
  }
}

// The others are children: with the same FS base as their parent.
int fork_others(const char* name, const char* secret) {
  attach(name, secret);
  found();
  void* const here = words;
  pid_t children[kWorkers] = {};
  for (unsigned worker = 1; worker < kWorkers; ++worker) {
    children[worker] = fork();
    if (children[worker] != 0) continue;
    attach(name, secret);
    join(worker == 1 ? nullptr : here);
    work(worker, forked_rounds());
    _exit(worker == 2 && vmsrs_detach() != 0 ? 1 : 0);  // some go without a word
  }
  work(0, forked_rounds());
  for (unsigned worker = 1; worker < kWorkers; ++worker) {
    int status = 0;
    waitpid(children[worker], &status, 0);
    if (status != 0) die("a child");
    if (read_back(worker) == 0) die("a child has done nothing");
  }
  if (vmsrs_detach() != 0) die("detach");
  std::printf("done\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  const int file = open(arguments[count - 1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(Notebook)) != 0) return 2;
  notebook = static_cast<Notebook*>(
      mmap(nullptr, sizeof(Notebook), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  const char* const mode = arguments[3];
  if (std::strcmp(mode, "fork") == 0) return fork_others(arguments[1], arguments[2]);
  attach(arguments[1], arguments[2]);
  if (std::strcmp(mode, "found") == 0)
    found();
  else
    join(nullptr);
  work(static_cast<unsigned>(std::atoi(arguments[4])), ~0u);
}
