// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "fixture.hpp"
#include "interpose.hpp"
#include "signal_plugin.h"

// Handlers that the program installs while it is attached: they get what is no user's fault, as the
// kernel would have given it to them.
using namespace vmsrs::test;
using vmsrs::guest::kernel_sigaction;

namespace {

// What the program calls. A sanitizer keeps its own.
int set_action(int signal, const struct sigaction* action, struct sigaction* former) {
#ifdef VMSRS_SANITIZED
  return vmsrs_sigaction(signal, action, former);
#else
  return sigaction(signal, action, former);
#endif
}

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

struct Seen {
  volatile int calls;
  volatile int signal;
  void* volatile address;
  volatile std::uintptr_t frame;
  volatile bool blocked, other_blocked, on_stack;
  std::uint64_t* volatile to_open;  // made writable by the handler
  sigjmp_buf* volatile landing;     // or left through this
} seen;

void forget() {
  seen.calls = 0;
  seen.to_open = nullptr;
  seen.landing = nullptr;
}

void look(int signal) {
  seen.calls = seen.calls + 1;
  seen.signal = signal;
  seen.frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  seen.blocked = sigismember(&mask, SIGSEGV) == 1;
  seen.other_blocked = sigismember(&mask, SIGUSR2) == 1;
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  seen.on_stack = (stack.ss_flags & SS_ONSTACK) != 0;
  if (seen.to_open != nullptr) mprotect(seen.to_open, 4096, PROT_READ | PROT_WRITE);
  if (seen.landing != nullptr) siglongjmp(*seen.landing, 1);
}
void with_information(int signal, siginfo_t* info, void* context) {
  seen.address = info->si_addr;
  if (context == nullptr) _exit(3);
  look(signal);
}

struct sigaction action_of(int flags) {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = flags;
  if ((flags & SA_SIGINFO) != 0)
    action.sa_sigaction = with_information;
  else
    action.sa_handler = look;
  return action;
}

// A fault of no user's that the handler mends: the registers survive it.
std::uint64_t fault_and_go_on(std::uint64_t* wild) {
  mprotect(wild, 4096, PROT_NONE);
  forget();
  seen.to_open = wild;
  std::uint64_t sum = 1;
  double kept = 2.5;
  asm volatile(
      "movq %2, %%xmm7\n\tmov $7, %%r12\n\tmovq $5, (%1)\n\tadd %%r12, %0\n\tmovq %%xmm7, %2"
      : "+r"(sum), "+r"(wild), "+r"(kept)
      :
      : "r12", "xmm7", "memory");
  seen.to_open = nullptr;
  return kept == 2.5 && *wild == 5 ? sum : 0;
}

bool contains_faults(DefaultServer& server) {
  forget();
  std::uint64_t* const gone = server.wild() + 4096;
  return run([&] {
           vmsrs::store(&server.words()[0], std::uint64_t{666});
           fault(gone);
         }) == VMSRS_SUPPRESSED &&
         server.words()[0] == 1;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(signals, DefaultServer)

BOOST_AUTO_TEST_CASE(handler_that_comes_later) {
  struct sigaction before {
  }, now{};
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, nullptr, &before), 0);
  const struct sigaction wanted = action_of(SA_SIGINFO | SA_RESTART);
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &wanted, &now), 0);
  BOOST_CHECK(now.sa_handler == before.sa_handler);
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, nullptr, &now), 0);
  BOOST_CHECK(now.sa_sigaction == with_information);
  BOOST_CHECK_EQUAL(now.sa_flags & (SA_SIGINFO | SA_RESTART | SA_ONSTACK), SA_SIGINFO | SA_RESTART);
  BOOST_CHECK(contains_faults(*this));
  BOOST_CHECK_EQUAL(seen.calls, 0);
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK_EQUAL(seen.calls, 1);
  BOOST_CHECK(seen.address == wild());
  BOOST_CHECK(contains_faults(*this));
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &before, nullptr), 0);
  BOOST_CHECK_EQUAL(set_action(SIGKILL, &wanted, nullptr), -1);
  BOOST_CHECK_EQUAL(errno, EINVAL);
}

BOOST_AUTO_TEST_CASE(without_information_and_by_signal) {
#ifndef VMSRS_SANITIZED
  const sighandler_t before = signal(SIGSEGV, look);
  BOOST_CHECK(signal(SIGSEGV, look) == look);
  BOOST_CHECK(contains_faults(*this));
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK_EQUAL(seen.calls, 1);
  BOOST_CHECK_EQUAL(seen.signal, SIGSEGV);
  // As System V has it: once.
  BOOST_CHECK(sysv_signal(SIGSEGV, look) == look);
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK(!seen.blocked);
  BOOST_CHECK(signal(SIGSEGV, before) == SIG_DFL);
  BOOST_CHECK(signal(SIGUSR2, look) == SIG_DFL);
  raise(SIGUSR2);
  BOOST_CHECK_EQUAL(seen.calls, 2);
  BOOST_CHECK(signal(SIGUSR2, SIG_DFL) == look);
#endif
}

BOOST_AUTO_TEST_CASE(of_a_shared_library) {
#ifndef VMSRS_SANITIZED
  const sighandler_t before = vmsrs_plugin_signal(SIGSEGV, look);
  BOOST_CHECK(contains_faults(*this));
  BOOST_CHECK_EQUAL(seen.calls, 0);
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK_EQUAL(seen.calls, 1);
  // And of one that looks for the next sigaction() itself.
  BOOST_CHECK_EQUAL(vmsrs_plugin_looked_up_signal(SIGUSR2, look), 0);
  raise(SIGUSR2);
  BOOST_CHECK_EQUAL(seen.calls, 2);
  BOOST_CHECK_EQUAL(vmsrs_plugin_looked_up_signal(SIGUSR2, SIG_DFL), 0);
  BOOST_CHECK(vmsrs_plugin_signal(SIGSEGV, before) == look);
#endif
}

BOOST_AUTO_TEST_CASE(masks) {
  struct sigaction before {};
  struct sigaction wanted = action_of(SA_SIGINFO);
  sigaddset(&wanted.sa_mask, SIGUSR2);
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &wanted, &before), 0);
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK(seen.blocked);
  BOOST_CHECK(seen.other_blocked);
  wanted = action_of(SA_SIGINFO | SA_NODEFER);
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &wanted, nullptr), 0);
  BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
  BOOST_CHECK(!seen.blocked);
  BOOST_CHECK(!seen.other_blocked);
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  BOOST_CHECK_EQUAL(sigismember(&now, SIGUSR2) + sigismember(&now, SIGSEGV), 0);
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &before, nullptr), 0);
}

// On the thread's alternate stack.
BOOST_AUTO_TEST_CASE(stacks) {
  BOOST_CHECK(contains_faults(*this));
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  struct sigaction before {};
  for (const int flags : {SA_SIGINFO, 0, SA_SIGINFO | SA_ONSTACK, SA_ONSTACK}) {
    const struct sigaction wanted = action_of(flags);
    BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &wanted, flags == SA_SIGINFO ? &before : nullptr), 0);
    for (int again = 0; again < 3; ++again) {
      BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
      BOOST_CHECK_EQUAL(seen.on_stack, (flags & SA_ONSTACK) != 0);
      const bool below = seen.frame < here && here - seen.frame < 64 * 1024;
      BOOST_CHECK_EQUAL(below, (flags & SA_ONSTACK) == 0);
    }
    // Left by a jump: the alternate stack is free again.
    sigjmp_buf landing;
    if (sigsetjmp(landing, 1) == 0) {
      seen.landing = &landing;
      fault(wild() + 1024);
    }
    seen.landing = nullptr;
    BOOST_CHECK_EQUAL(fault_and_go_on(wild()), 8u);
    BOOST_CHECK(contains_faults(*this));
  }
  BOOST_REQUIRE_EQUAL(set_action(SIGSEGV, &before, nullptr), 0);
}

// A stack of the program's own is kept; a small one gives way, but not one that comes later: there
// faults are contained, if not stepped over.
BOOST_AUTO_TEST_CASE(alternate_stack_of_the_program) {
  for (const std::size_t kibibytes : {256, 16}) {
    std::thread([&] {
      void* const memory = std::malloc(kibibytes * 1024);
      stack_t own{}, then{};
      own.ss_sp = memory;
      own.ss_size = kibibytes * 1024;
      BOOST_CHECK_EQUAL(sigaltstack(&own, nullptr), 0);
      const auto crash = [&] {
        return run([&] {
          vmsrs::store(&words()[0], std::uint64_t{666});
          fault(wild() + 4096);
        });
      };
      BOOST_CHECK_EQUAL(crash(), VMSRS_SUPPRESSED);
      BOOST_CHECK_EQUAL(sigaltstack(nullptr, &then), 0);
      BOOST_CHECK_EQUAL(then.ss_sp == memory, kibibytes >= 64);
      BOOST_CHECK_EQUAL(sigaltstack(&own, nullptr), 0);
      BOOST_CHECK_EQUAL(crash(), kibibytes >= 64 ? VMSRS_SUPPRESSED : VMSRS_UNWOUND);
      own.ss_flags = SS_DISABLE;
      sigaltstack(&own, nullptr);
      std::free(memory);
    }).join();
  }
  BOOST_CHECK(is_pristine());
}

BOOST_AUTO_TEST_CASE(once_and_then_the_default) {
  const auto status = [&](int flags) {
    return status_of_child([&] {
      const struct sigaction wanted = action_of(SA_SIGINFO | flags);
      set_action(SIGSEGV, &wanted, nullptr);
      if (fault_and_go_on(wild()) != 8 || seen.calls != 1) _exit(2);
      struct sigaction now {};
      set_action(SIGSEGV, nullptr, &now);
      if ((flags != 0) != (now.sa_handler == SIG_DFL)) _exit(4);
      if (!contains_faults(*this)) _exit(5);
      _exit(fault_and_go_on(wild()) == 8 && seen.calls == 1 ? 0 : 6);
    });
  };
  BOOST_CHECK_EQUAL(status(0), 0);
  BOOST_CHECK_EQUAL(signal_of(status(static_cast<int>(SA_RESETHAND))), SIGSEGV);
}

BOOST_AUTO_TEST_CASE(ignored_and_sent) {
  const int status = status_of_child([&] {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    set_action(SIGABRT, &ignore, nullptr);
    set_action(SIGSEGV, &ignore, nullptr);
    raise(SIGSEGV);
    raise(SIGABRT);
    if (run([] {
          kill(getpid(), SIGSEGV);
          usleep(1000);
        }) != VMSRS_FINISHED)
      _exit(2);
    for (const int raised : {SIGSEGV, SIGABRT})
      if (run([=] { raise(raised); }) != VMSRS_UNWOUND) _exit(3);
    fault(wild());  // of a fault nobody can look away
    _exit(4);
  });
  BOOST_CHECK_EQUAL(signal_of(status), SIGSEGV);
}

// abort() calls the handler, and when that returns the process ends all the same.
BOOST_AUTO_TEST_CASE(handler_of_abort) {
  int pipe_ends[2];
  BOOST_REQUIRE_EQUAL(pipe(pipe_ends), 0);
  static int told;
  told = pipe_ends[1];
  const int status = status_of_child([&] {
    struct sigaction wanted {};
    wanted.sa_handler = [](int) {
      if (write(told, "x", 1) != 1) _exit(2);
    };
    set_action(SIGABRT, &wanted, nullptr);
    if (run([] { std::abort(); }) != VMSRS_UNWOUND) _exit(3);
    std::abort();
  });
  BOOST_CHECK_EQUAL(signal_of(status), SIGABRT);
  close(pipe_ends[1]);
  char text[4];
  BOOST_CHECK_EQUAL(read(pipe_ends[0], text, sizeof text), 1);
  close(pipe_ends[0]);
}

// Of a read that a sent signal interrupts: as the program's handler has it.
BOOST_AUTO_TEST_CASE(interrupted_calls) {
  for (const int flags : {0, SA_RESTART}) {
    struct sigaction before {};
    const struct sigaction wanted = action_of(flags);
    BOOST_REQUIRE_EQUAL(set_action(SIGBUS, &wanted, &before), 0);
    forget();
    int ends[2];
    BOOST_REQUIRE_EQUAL(pipe(ends), 0);
    char byte = 0;
    ssize_t got = -2;
    std::thread reader([&] {
      got = read(ends[0], &byte, 1);
      if (got < 0) got = -errno;
    });
    usleep(50'000);
    pthread_kill(reader.native_handle(), SIGBUS);
    usleep(50'000);
    BOOST_CHECK_EQUAL(write(ends[1], "y", 1), 1);
    reader.join();
    BOOST_CHECK_EQUAL(got, flags == 0 ? -EINTR : 1);
    BOOST_CHECK_EQUAL(seen.calls, 1);
    close(ends[0]);
    close(ends[1]);
    BOOST_REQUIRE_EQUAL(set_action(SIGBUS, &before, nullptr), 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()

// What was installed meanwhile is in place when the library has gone.
BOOST_AUTO_TEST_CASE(handlers_after_detach) {
  struct sigaction before {
  }, now{};
  kernel_sigaction(SIGSEGV, nullptr, &before);
  {
    DefaultServer server;
    const struct sigaction wanted = action_of(SA_SIGINFO);
    set_action(SIGSEGV, &wanted, nullptr);
    kernel_sigaction(SIGSEGV, nullptr, &now);
    BOOST_CHECK(now.sa_sigaction != with_information);
  }
  kernel_sigaction(SIGSEGV, nullptr, &now);
  BOOST_CHECK(now.sa_sigaction == with_information);
  kernel_sigaction(SIGSEGV, &before, nullptr);
}
