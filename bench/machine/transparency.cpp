// SPDX-License-Identifier: Apache-2.0
// What programs do and take inside a machine, with the hypervisor below Linux or without: the same
// work, its result, its time and the exits that it caused. One line a workload,
//   workload<TAB>NAME<TAB>OPERATIONS<TAB>RESULT<TAB>CLOCK<TAB>PROCESSOR<TAB>REASON=EXITS ...
// CLOCK: nanoseconds of the machine's clock, which are instructions under QEMU's -icount;
// PROCESSOR: those for which these processes had the processor, the kernel's work for them in it.
//
// bench_transparency quick|whole [DISK]     (DISK: a block device that is overwritten)
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>

#include "guest.hpp"

namespace {

constexpr std::size_t kPage = 4096, kMiB = 1u << 20;
constexpr char kChild[] = "child";
// By vmsrs_exit_reason.
constexpr const char* kReasons[VMSRS_EXIT_REASON_COUNT] = {
    "call",      "cpuid", "msr", "forbidden_memory", "apic", "nmi", "init", "svm_instruction",
    "interrupt", "other"};

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

void require(bool good, const char* what) {
  if (!good) give_up(what);
}

std::uint64_t nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t children_nanoseconds() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto micro = [](const timeval& t) { return t.tv_sec * 1'000'000 + t.tv_usec; };
  return static_cast<std::uint64_t>(micro(usage.ru_utime) + micro(usage.ru_stime)) * 1000;
}

// FNV-1a.
class Digest {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const std::uint8_t*>(data);
    for (std::size_t i = 0; i < bytes; ++i) value_ = (value_ ^ at[i]) * 0x100000001b3;
  }
  template <class T>
  void add(const T& each) {
    add(&each, sizeof each);
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

using Work = std::function<void(std::uint64_t operations, Digest&)>;

// As many instructions as it says, but for one or two around them: what the clock is judged by.
void known_instructions(std::uint64_t instructions, Digest& digest) {
  std::uint64_t left = instructions / 2;
  asm volatile(
      "0: dec %0\n\t"
      "jnz 0b"
      : "+r"(left)
      :
      : "cc");
  digest.add(left);
}

void integer(std::uint64_t operations, Digest& digest) {
  std::uint64_t state = 1, sum = 0;
  for (std::uint64_t i = 0; i < operations; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    sum += (state >> 33) % (i + 1);
  }
  digest.add(sum);
}

void floating(std::uint64_t operations, Digest& digest) {
  constexpr std::size_t kSize = 48;
  static double left[kSize][kSize], right[kSize][kSize], product[kSize][kSize];
  for (std::size_t i = 0; i < kSize * kSize; ++i) {
    left[i / kSize][i % kSize] = 1.0 / static_cast<double>(i + 1);
    right[i / kSize][i % kSize] = static_cast<double>(i % 7) - 3.0;
  }
  for (std::uint64_t n = 0; n < operations; ++n) {
    for (std::size_t i = 0; i < kSize; ++i) {
      for (std::size_t j = 0; j < kSize; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < kSize; ++k) sum += left[i][k] * right[k][j];
        product[i][j] = sum;
      }
    }
    left[n % kSize][0] += product[1][2] / 1e9;
  }
  digest.add(product);
}

void copying(std::uint64_t operations, Digest& digest) {
  static std::array<std::uint8_t, kMiB> from, to;
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i * 31);
  for (std::uint64_t n = 0; n < operations; ++n) {
    std::memcpy(to.data(), from.data(), to.size());
    from[n] = static_cast<std::uint8_t>(from[n] + to[n + 1]);
  }
  digest.add(to.data(), kPage);
}

void system_calls(std::uint64_t operations, Digest& digest) {
  long sum = 0;
  for (std::uint64_t i = 0; i < operations; ++i) sum += syscall(SYS_getppid);
  digest.add(sum >= 0);
}

void forks(std::uint64_t operations, Digest& digest) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "bench_transparency", kChild, nullptr);
      _exit(1);
    }
    int status = 0;
    require(child > 0 && waitpid(child, &status, 0) == child, "fork");
    digest.add(status);
  }
}

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  require(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

// A word there and back, between two processes.
void ping_pong(std::uint64_t operations, Digest& digest, int other_cpu) {
  int there[2], back[2];
  require(pipe(there) == 0 && pipe(back) == 0, "pipe");
  const pid_t child = fork();
  require(child >= 0, "fork");
  std::uint64_t word = 1;
  if (child == 0) {
    pin_to(other_cpu);
    close(there[1]);
    while (read(there[0], &word, sizeof word) == sizeof word) {
      word = word * 3 + 1;
      if (write(back[1], &word, sizeof word) != sizeof word) break;
    }
    _exit(0);
  }
  close(there[0]);
  for (std::uint64_t i = 0; i < operations; ++i) {
    require(write(there[1], &word, sizeof word) == sizeof word &&
                read(back[0], &word, sizeof word) == sizeof word,
            "a pipe");
  }
  close(there[1]);
  close(back[0]);
  close(back[1]);
  waitpid(child, nullptr, 0);
  digest.add(word);
}

void page_faults(std::uint64_t operations, Digest& digest) {
  constexpr std::size_t kPages = 256;
  for (std::uint64_t i = 0; i < operations; i += kPages) {
    void* const pages =
        mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(pages != MAP_FAILED, "mmap");
    madvise(pages, kPages * kPage, MADV_NOHUGEPAGE);
    for (std::size_t page = 0; page < kPages; ++page) {
      auto* const at = static_cast<std::uint8_t*>(pages) + page * kPage;
      digest.add(*at);
      *at = static_cast<std::uint8_t>(page);
    }
    munmap(pages, kPages * kPage);
  }
}

// Blocks of a virtio disk, past the page cache: each is written, then all are read.
void disk(std::uint64_t operations, Digest& digest, const char* device) {
  constexpr std::size_t kBlock = 64 << 10;
  const int file = open(device, O_RDWR | O_DIRECT);
  require(file >= 0, device);
  auto* const block = static_cast<std::uint8_t*>(std::aligned_alloc(kPage, kBlock));
  for (std::uint64_t i = 0; i < operations; ++i) {
    for (std::size_t at = 0; at < kBlock; ++at) block[at] = static_cast<std::uint8_t>(i + at * 7);
    require(pwrite(file, block, kBlock, static_cast<off_t>(i * kBlock)) == kBlock, "pwrite");
  }
  require(fsync(file) == 0, "fsync");
  for (std::uint64_t i = 0; i < operations; ++i) {
    require(pread(file, block, kBlock, static_cast<off_t>(i * kBlock)) == kBlock, "pread");
    digest.add(block, kPage);
  }
  std::free(block);
  close(file);
}

void timers(std::uint64_t operations, Digest& digest) {
  for (std::uint64_t i = 0; i < operations; ++i) {
    const timespec millisecond{0, 1'000'000};
    const std::uint64_t begin = nanoseconds(CLOCK_MONOTONIC);
    require(nanosleep(&millisecond, nullptr) == 0, "nanosleep");
    digest.add(nanoseconds(CLOCK_MONOTONIC) - begin >= 1'000'000);
  }
}

void idle(std::uint64_t seconds, Digest& digest) {
  const timespec time{static_cast<time_t>(seconds), 0};
  require(nanosleep(&time, nullptr) == 0, "nanosleep");
  digest.add(seconds);
}

class Machine {
 public:
  Machine() : below_(guest::has_signature()) {
    if (below_) token_ = guest::open_management();
    cpus_ = sysconf(_SC_NPROCESSORS_ONLN);
  }
  long cpus() const { return cpus_; }

  using Exits = std::array<std::uint64_t, VMSRS_EXIT_REASON_COUNT>;
  Exits exits() const {
    Exits sum{};
    for (long cpu = 0; below_ && cpu < cpus_; ++cpu) {
      const vmsrs_exits of = guest::exits(token_, static_cast<std::uint64_t>(cpu));
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += of.count[i];
    }
    return sum;
  }

  void measure(const char* name, std::uint64_t operations, const Work& work) const {
    Digest digest;
    work(operations, digest);  // pages, caches and code are there the second time
    digest = Digest{};
    const Exits own = exits(), before = exits();
    const std::uint64_t children = children_nanoseconds();
    const std::uint64_t processor = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    const std::uint64_t begin = nanoseconds(CLOCK_MONOTONIC);
    work(operations, digest);
    const std::uint64_t clock = nanoseconds(CLOCK_MONOTONIC) - begin;
    const std::uint64_t spent =
        nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - processor + children_nanoseconds() - children;
    const Exits after = exits();
    std::printf("workload\t%s\t%lu\t%016lx\t%lu\t%lu\t", name, operations, digest.value(), clock,
                spent);
    for (std::size_t i = 0; i < after.size(); ++i) {
      // Without those by which the exits are asked for.
      const std::uint64_t count = (after[i] - before[i]) - (before[i] - own[i]);
      if (before[i] - own[i] > after[i] - before[i] || count == 0) continue;
      std::printf("%s=%lu ", kReasons[i], count);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  bool below_;
  std::uint64_t token_ = 0;
  long cpus_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == kChild) return 0;
  const std::uint64_t times = what == "quick" ? 1 : 8;
  const Machine machine;
  pin_to(0);
  machine.measure("known_instructions", 2'000'000, known_instructions);
  machine.measure("integer", 1'000'000 * times, integer);
  machine.measure("floating_point", 20 * times, floating);
  machine.measure("memory_copy", 50 * times, copying);
  machine.measure("system_calls", 20'000 * times, system_calls);
  machine.measure("page_faults", 2'560 * times, page_faults);
  machine.measure("fork_exec", 20 * times, forks);
  machine.measure("context_switch", 1'000 * times,
                  [](std::uint64_t n, Digest& digest) { ping_pong(n, digest, 0); });
  if (machine.cpus() > 1) {
    machine.measure("switch_between_cpus", 1'000 * times,
                    [](std::uint64_t n, Digest& digest) { ping_pong(n, digest, 1); });
  }
  if (argc > 2) {
    machine.measure("disk", 16 * times,
                    [&](std::uint64_t n, Digest& digest) { disk(n, digest, argv[2]); });
  }
  machine.measure("timers", 50 * times, timers);
  machine.measure("idle", 2 * times, idle);
  return 0;
}
