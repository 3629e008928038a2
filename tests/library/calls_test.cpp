// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "control.hpp"
#include "fixture.hpp"
#include "kernel_paths.hpp"

// System calls of a crashed user's thread: what goes out of the process is refused, what it needs
// to come to its end point works.
using namespace vmsrs::test;

namespace {

vmsrs_options policed(std::uint32_t allowed, std::uint32_t limit_ms) {
  vmsrs_options options{};
  options.suppression_limit_ms = limit_ms;
  options.site_crash_limit = options.crash_limit = 1'000'000;
  options.crashed_calls = allowed;
  return options;
}

struct Policed : AttachedServer {
  explicit Policed(std::uint32_t allowed = 0, std::uint32_t limit_ms = 300'000)
      : AttachedServer(policed(allowed, limit_ms)) {
    vmsrs_containment_status now{};
    BOOST_REQUIRE_EQUAL(vmsrs_get_containment(&now), 0);
    // Every kernel that these tests are made for has it (Linux 5.11).
    BOOST_REQUIRE_EQUAL(now.polices_calls, allowed == VMSRS_CALLS_ALL ? 0u : 1u);
  }
};

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

// What a call gave: its result, or the negative errno.
long gave(long result) { return result < 0 ? -errno : result; }

vmsrs_containment_status status() {
  vmsrs_containment_status now{};
  BOOST_REQUIRE_EQUAL(vmsrs_get_containment(&now), 0);
  return now;
}

// Runs `call` in a user that has crashed, and looks at what it gave afterwards.
template <typename Call>
long in_crashed(AttachedServer& server, Call call, int expected = VMSRS_SUPPRESSED) {
  long result = -1000;
  const int outcome = run([&] {
    vmsrs::store(&server.words()[0], std::uint64_t{666});
    fault(server.wild());
    result = call();
  });
  BOOST_CHECK_EQUAL(outcome, expected);
  return result;
}

struct Descriptors {
  explicit Descriptors(bool sockets = false) {
    const int made = sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends)
                             : pipe2(ends, O_NONBLOCK);
    BOOST_REQUIRE_EQUAL(made, 0);
  }
  ~Descriptors() {
    close(ends[0]);
    close(ends[1]);
  }
  std::string content() {
    char text[32];
    const ssize_t got = read(ends[0], text, sizeof text);
    return std::string(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  int ends[2];
};

std::uint64_t* region_behind_own_memory() {
  constexpr std::size_t kBytes = 16 * 4096;
  auto* const page = static_cast<std::byte*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto* const region = reinterpret_cast<std::uint64_t*>(page + kBytes / 2);
  std::memset(region, 5, kBytes / 2);
  BOOST_REQUIRE_EQUAL(profile(region, kBytes / 2, 64), 0);
  return region;
}

bool is_open(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(calls, Policed)

// The other side of a call may sleep, and must be woken by a crashed user's thread as by any other.
BOOST_AUTO_TEST_CASE(the_platforms_own_calls) {
  constexpr std::uint64_t kUsers = 20;
  const std::uint64_t before = status().refused_call_count;
  for (std::uint64_t i = 0; i < kUsers; ++i)
    in_crashed(*this, [&] {
      usleep(2000);
      vmsrs::store(&words()[1], i);
      usleep(2000);
      return static_cast<long>(vmsrs::load(&words()[1]));
    });
  BOOST_CHECK_EQUAL(status().refused_call_count, before);
}

BOOST_AUTO_TEST_CASE(own_connection_and_others) {
  Descriptors own(true), other(true);
  bool wrote = false, other_wrote = false, closed = false, other_closed = false;
  run([&] {
    BOOST_CHECK_EQUAL(vmsrs_user_connection(own.ends[1]), 0);
    fault(wild());
    wrote = write(own.ends[1], "sorry", 5) == 5;
    other_wrote = write(other.ends[1], "wrong", 5) != -1 || errno != EPERM ||
                  send(other.ends[1], "wrong", 5, 0) != -1 || errno != EPERM;
    other_closed = close(other.ends[1]) == 0;
    closed = shutdown(own.ends[1], SHUT_WR) == 0 && close(own.ends[1]) == 0;
  });
  BOOST_CHECK(wrote);
  BOOST_CHECK(!other_wrote);
  BOOST_CHECK(closed);
  BOOST_CHECK(!other_closed);
  BOOST_CHECK(!is_open(own.ends[1]));
  BOOST_CHECK(is_open(other.ends[1]));
  BOOST_CHECK_EQUAL(own.content(), "sorry");
  BOOST_CHECK_EQUAL(other.content(), "");
  BOOST_CHECK_GE(status().refused_call_count, 3u);
  // The name ends with the scope, and is not given by who has crashed.
  Descriptors next;
  const int end = next.ends[1];
  BOOST_CHECK_EQUAL(in_crashed(*this, [=] { return gave(write(end, "x", 1)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [=] {
                                 vmsrs_user_connection(end);
                                 return gave(write(end, "x", 1));
                               }),
                    -EPERM);
  BOOST_CHECK_EQUAL(vmsrs_user_connection(end), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(write(end, "x", 1), 1);
}

BOOST_AUTO_TEST_CASE(reads_but_not_into_a_region) {
  Descriptors pipe_ends;
  BOOST_REQUIRE_EQUAL(write(pipe_ends.ends[1], "abcdefgh", 8), 8);
  const int end = pipe_ends.ends[0];
  char text[8];
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(read(end, text, 4)); }), 4);
  const iovec two[2] = {{text, 1}, {words(), 8}};
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(read(end, words(), 4)); }), -EFAULT);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(read(end, words() - 1, 9)); }), -EFAULT);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(readv(end, two, 2)); }), -EFAULT);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [&] {
                                 return gave(clock_gettime(CLOCK_PROCESS_CPUTIME_ID,
                                                           reinterpret_cast<timespec*>(words())));
                               }),
                    -EFAULT);
  BOOST_CHECK(is_pristine());
  BOOST_CHECK_EQUAL(pipe_ends.content(), "efgh");
}

BOOST_AUTO_TEST_CASE(the_kernels_ways_into_a_region) {
  try_kernel_paths(*this, region_behind_own_memory());
}

BOOST_AUTO_TEST_CASE(files) {
  char name[] = "/tmp/vmsrs-calls-XXXXXX";
  const int file = mkstemp(name);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [&] {
                                 const int opened = open(name, O_RDONLY);
                                 char byte;
                                 return opened >= 0 && read(opened, &byte, 1) == 0 &&
                                        close(opened) == 0;
                               }),
                    1);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(open(name, O_RDWR)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(open(name, O_RDONLY | O_TRUNC)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(unlink(name)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(write(file, "x", 1)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(ftruncate(file, 10)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(open("/proc/self/mem", O_RDWR)); }), -EPERM);
  BOOST_CHECK_EQUAL(lseek(file, 0, SEEK_END), 0);
  BOOST_CHECK_EQUAL(unlink(name), 0);
  close(file);
}

BOOST_AUTO_TEST_CASE(descriptors_that_it_makes) {
  int ends[2];
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(socket(AF_INET, SOCK_STREAM, 0)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(pipe(ends)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(dup2(0, 200)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(syscall(SYS_io_uring_setup, 1, nullptr)); }),
                    -EPERM);
}

BOOST_AUTO_TEST_CASE(signals_and_processes) {
  static std::atomic<int> signals_seen;
  signals_seen = 0;
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) { ++signals_seen; };
  sigaction(SIGUSR1, &count, &before);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(kill(getpid(), SIGUSR1)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(raise(SIGUSR1)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(sigaction(SIGUSR1, nullptr, nullptr)); }),
                    0);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(sigaction(SIGUSR1, &before, nullptr)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(sigaction(SIGSEGV, &before, nullptr)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(fork()); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [] {
                                 pthread_t thread;
                                 return long{pthread_create(
                                     &thread, nullptr, [](void* p) { return p; }, nullptr)};
                               }),
                    EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [] {
                                 char* const none[] = {nullptr};
                                 return gave(execve("/bin/false", none, none));
                               }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [] { return gave(waitpid(-1, nullptr, WNOHANG)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this,
                               [&] {
                                 const iovec here = {words(), 8}, there = {words() + 8, 8};
                                 return gave(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
                               }),
                    -EPERM);
  BOOST_CHECK_EQUAL(signals_seen, 0);
  // The process is not ended by it: its user is.
  in_crashed(
      *this, []() -> long { _exit(3); }, VMSRS_UNWOUND);
  in_crashed(
      *this, []() -> long { std::abort(); }, VMSRS_UNWOUND);
  // And afterwards all of it works.
  raise(SIGUSR1);
  BOOST_CHECK_EQUAL(signals_seen, 1);
  BOOST_CHECK_EQUAL(status_of_child([] { _exit(3); }), 3 << 8);
  sigaction(SIGUSR1, &before, nullptr);
  BOOST_CHECK(is_pristine());
}

// What ends the process does, though a crashed user's thread is its messenger.
BOOST_AUTO_TEST_CASE(a_fatal_signal_from_somebody_else) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGTRAP})
    BOOST_CHECK_EQUAL(signal_of(status_of_child([&] {
                        std::atomic<pthread_t> crashed{0};
                        std::thread([&] {
                          while (crashed == 0) usleep(1000);
                          pthread_kill(crashed, signal);
                        }).detach();
                        run([&] {
                          fault(wild());
                          crashed = pthread_self();
                          for (;;) asm volatile("pause");
                        });
                      })),
                      signal);
}

BOOST_AUTO_TEST_CASE(memory) {
  constexpr std::size_t kBytes = 1 << 20;
  void* const mapped =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(munmap(mapped, 4096)); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(mprotect(mapped, 4096, PROT_READ)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return gave(madvise(mapped, 4096, MADV_DONTNEED)); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(
      in_crashed(
          *this,
          [] { return gave(mprotect(&vmsrs::guest::control_page, 4096, PROT_READ | PROT_WRITE)); }),
      -EPERM);
  const auto map = [](void* at, int flags) {
    void* const made = mmap(at, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    return made == MAP_FAILED ? long{-errno} : gave(munmap(made, 4096));
  };
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return map(words(), MAP_PRIVATE | MAP_FIXED); }),
                    -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return map(nullptr, MAP_SHARED); }), -EPERM);
  BOOST_CHECK_EQUAL(in_crashed(*this, [&] { return map(nullptr, MAP_PRIVATE); }), 0);
  // malloc's own: small and large, on the main thread and on another arena's.
  const auto allocate = [&] {
    return in_crashed(*this, [] {
      long sum = 0;
      for (std::size_t bytes = 16; bytes <= kBytes; bytes *= 4) {
        const std::unique_ptr<char[]> block(new char[bytes]);
        std::memset(block.get(), 1, bytes);
        sum += block[bytes / 2];
      }
      return sum;
    });
  };
  BOOST_CHECK_EQUAL(allocate(), 9);
  std::thread([&] { BOOST_CHECK_EQUAL(allocate(), 9); }).join();
  std::memset(mapped, 1, 4096);
  munmap(mapped, 4096);
  BOOST_CHECK(is_pristine());
}

// Locks, clocks, masks, and handlers that come in between.
BOOST_AUTO_TEST_CASE(what_it_needs) {
  std::mutex lock;
  std::atomic<int> step{0};
  static std::atomic<int> signals_seen;
  signals_seen = 0;
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) { ++signals_seen; };
  sigaction(SIGUSR1, &count, &before);
  lock.lock();
  std::thread other([&, thread = pthread_self()] {
    while (step != 1) usleep(1000);
    pthread_kill(thread, SIGUSR1);
    usleep(20'000);
    step = 2;
    while (step != 3) usleep(1000);
    std::scoped_lock held(lock);
    step = 4;
  });
  const long done = in_crashed(*this, [&] {
    long works = 0;
    step = 1;
    while (step != 2) usleep(1000);
    works += signals_seen == 1;
    sigset_t all, mask, after;
    sigfillset(&all);
    works += pthread_sigmask(SIG_SETMASK, &all, &mask) == 0;
    works += getppid() > 0;  // SIGSYS is not blocked, whoever blocks all
    works += pthread_sigmask(SIG_SETMASK, &mask, &after) == 0;
    works += sigismember(&after, SIGUSR1) == 1 && sigismember(&after, SIGSYS) == 0;
    step = 3;
    lock.unlock();
    while (step != 4) usleep(1000);
    lock.lock();
    timespec now{};
    works += clock_gettime(CLOCK_MONOTONIC, &now) == 0 && now.tv_sec > 0;
    fault(wild());
    works += vmsrs::load(&words()[0]) != 5;
    return works;
  });
  BOOST_CHECK_EQUAL(done, 7);
  lock.unlock();
  other.join();
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  BOOST_CHECK_EQUAL(sigismember(&now, SIGUSR1), 0);
  sigaction(SIGUSR1, &before, nullptr);
}

// However a user has crashed, and however it comes to its end.
BOOST_AUTO_TEST_CASE(begins_with_the_crash_and_ends_with_the_scope) {
  Descriptors pipe_ends;
  const int end = pipe_ends.ends[1];
  const auto is_free = [&] { return write(end, "x", 1) == 1 && pipe_ends.content() == "x"; };
  long gave_before = 0, gave_after = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      gave_before = gave(write(end, "x", 1));
                      crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
                      gave_after = gave(write(end, "x", 1));
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(gave_before, 1);
  BOOST_CHECK_EQUAL(gave_after, -EPERM);
  BOOST_CHECK_EQUAL(pipe_ends.content(), "x");
  BOOST_CHECK(is_free());
  // Declared crashed by somebody else.
  std::atomic<std::uint64_t> user{0};
  std::thread watchdog([&] {
    while (user == 0) usleep(1000);
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(user), 0);
    user = 0;
  });
  BOOST_CHECK_EQUAL(run([&] {
                      user = vmsrs_user_number();
                      while (user != 0) usleep(1000);
                      vmsrs::store(&words()[1], std::uint64_t{666});
                      gave_after = gave(write(end, "x", 1));
                    }),
                    VMSRS_SUPPRESSED);
  watchdog.join();
  BOOST_CHECK_EQUAL(gave_after, -EPERM);
  BOOST_CHECK(is_free());
  // Unwound.
  BOOST_CHECK_EQUAL(run([] { std::abort(); }), VMSRS_UNWOUND);
  BOOST_CHECK(is_free());
  // In two calls.
  BOOST_CHECK_EQUAL(vmsrs_user_begin(1), 0);
  fault(wild());
  BOOST_CHECK_EQUAL(gave(write(end, "x", 1)), -EPERM);
  BOOST_CHECK_EQUAL(vmsrs_user_end(), VMSRS_SUPPRESSED);
  BOOST_CHECK(is_free());
  // The callback is the program's word, not the user's.
  static int told;
  told = end;
  BOOST_CHECK_EQUAL(run([&] { fault(wild()); },
                        [](void*) {
                          if (write(told, "c", 1) != 1) std::abort();
                        }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(pipe_ends.content(), "c");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(calls_policy)

BOOST_AUTO_TEST_CASE(what_a_server_allows) {
  Descriptors pipe_ends;
  const int end = pipe_ends.ends[1];
  {
    Policed server(VMSRS_CALLS_DESCRIPTORS);
    BOOST_CHECK_EQUAL(in_crashed(server, [=] { return gave(write(end, "x", 1)); }), 1);
    BOOST_CHECK_EQUAL(in_crashed(server, [] { return gave(fork()); }), -EPERM);
  }
  Policed server(VMSRS_CALLS_ALL);
  BOOST_CHECK_EQUAL(in_crashed(server, [=] { return gave(write(end, "x", 1)); }), 1);
  BOOST_CHECK_EQUAL(in_crashed(server,
                               [] {
                                 const pid_t child = fork();
                                 if (child == 0) _exit(0);
                                 return long{child > 0 && waitpid(child, nullptr, 0) == child};
                               }),
                    1);
}

// Whatever mappings a server leaves to its crashed users: regions are not among them.
BOOST_AUTO_TEST_CASE(mappings_but_not_of_regions) {
  Policed server(VMSRS_CALLS_MEMORY);
  void* const other =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  BOOST_CHECK_EQUAL(in_crashed(server, [=] { return gave(munmap(other, 4096)); }), 0);
  try_kernel_paths(server, region_behind_own_memory());
}

// The timer, its handler and the way back, on a thread whose calls are looked at.
BOOST_AUTO_TEST_CASE(unwound_for_its_time) {
  Policed server(0, 300);
  Descriptors pipe_ends;
  const int end = pipe_ends.ends[1];
  const long refused = in_crashed(
      server,
      [=]() -> long {
        for (;;) static_cast<void>(write(end, "x", 1));
      },
      VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(refused, -1000);
  BOOST_CHECK_EQUAL(pipe_ends.content(), "");
  BOOST_CHECK_EQUAL(write(end, "x", 1), 1);
  BOOST_CHECK(server.is_pristine());
}

namespace {

// The system calls that a child makes between two calls of getppid().
long calls_of_child(std::uint32_t allowed) {
  Policed server(allowed);
  const pid_t child = fork_between_calls();
  if (child == 0) {
    alarm(30);
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    run([&] { vmsrs::store(&server.words()[0], std::uint64_t{1}); });
    syscall(SYS_getppid);
    for (int i = 0; i < 20; ++i) run([&] { vmsrs::store(&server.words()[0], std::uint64_t{1}); });
    syscall(SYS_getppid);
    _exit(0);
  }
  long counted = 0;
  int marks = 0, child_status = 0;
  for (waitpid(child, &child_status, 0); WIFSTOPPED(child_status);
       waitpid(child, &child_status, 0)) {
    if (WSTOPSIG(child_status) == (SIGTRAP | 0x80)) {
      const long number = ptrace(PTRACE_PEEKUSER, child, 8 * 15, nullptr);  // ORIG_RAX
      if (number == SYS_getppid)
        ++marks;
      else if (marks == 2)
        ++counted;
    }
    ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
    const int signal = WSTOPSIG(child_status);
    const bool own = signal == SIGSTOP || (signal & 0x7f) == SIGTRAP;
    ptrace(PTRACE_SYSCALL, child, nullptr, own ? 0 : signal);
  }
  BOOST_CHECK_EQUAL(child_status, 0);
  BOOST_CHECK_EQUAL(marks, 4);  // each has a beginning and an end
  return counted;
}

}  // namespace

// Who has not crashed makes the same system calls, whatever the policy.
BOOST_AUTO_TEST_CASE(no_call_more_while_nobody_has_crashed) {
  const long with = calls_of_child(0), without = calls_of_child(VMSRS_CALLS_ALL);
  BOOST_TEST_MESSAGE("system calls of 20 users: " << with / 2 << ", unpoliced " << without / 2);
  BOOST_CHECK_GT(without, 0);
  BOOST_CHECK_EQUAL(with, without);
}

BOOST_AUTO_TEST_SUITE_END()
