// SPDX-License-Identifier: Apache-2.0
#include <alloca.h>
#include <asm/prctl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "fixture.hpp"
#include "interpose.hpp"

// Faults that are not a user's: as if the library were not there. Each in a child process.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

void exit_with_42(int) { _exit(42); }
void exit_with_43(int, siginfo_t* info, void* context) {
  _exit(info != nullptr && info->si_addr == nullptr && context != nullptr ? 43 : 1);
}

#ifndef VMSRS_SANITIZED  // whose own code in the handler needs the thread pointer, and more stack
// What runs next in this thread and has a variable of its own faults, the handler of that fault
// too.
void lose_thread_pointer() {
  syscall(SYS_arch_prctl, ARCH_SET_FS, 0);
  asm volatile("mov %%fs:0, %%rax" : : : "rax", "memory");
}

// On the alternate stack, down to what its last frame needs.
void raise_at_the_end_of_the_stack(int) {
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  auto* here = static_cast<char*>(__builtin_frame_address(0));
  auto* const used =
      static_cast<char*>(alloca(static_cast<std::size_t>(here - static_cast<char*>(stack.ss_sp)) -
                                getauxval(AT_MINSIGSTKSZ) - 4096));
  asm volatile("" : : "r"(used) : "memory");
  raise(SIGBUS);
  _exit(1);
}

// An alternate stack of so many bytes above a page that is no memory.
void use_alternate_stack(std::size_t bytes) {
  constexpr std::size_t kGuardBytes = 4096, kPages = 128 * 1024;
  auto* memory = static_cast<char*>(mmap(nullptr, kGuardBytes + kPages, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  stack_t stack{};
  stack.ss_sp = memory + kGuardBytes;
  stack.ss_size = bytes;
  if (bytes > kPages || memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0 ||
      sigaltstack(&stack, nullptr) != 0)
    _exit(1);
}
#endif

}  // namespace

BOOST_FIXTURE_TEST_SUITE(process, DefaultServer)

BOOST_AUTO_TEST_CASE(dies_with_the_right_signal) {
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] { fault(wild()); })), SIGSEGV);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] { asm volatile("ud2"); })), SIGILL);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] { asm volatile("int3"); })), SIGTRAP);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] {
                      signal(SIGTRAP, SIG_IGN);
                      asm volatile("int3");
                    })),
                    SIGTRAP);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] {
                      asm volatile("div %0" : : "r"(0) : "rax", "rdx", "cc");
                    })),
                    SIGFPE);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] { raise(SIGSEGV); })), SIGSEGV);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] {
                      kill(getpid(), SIGBUS);
                      sleep(1);
                    })),
                    SIGBUS);
  // On another thread, and after a scope that is over.
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] {
                      std::thread([&] {
                        run([&] { fault(wild()); });
                        fault(wild());
                      }).join();
                    })),
                    SIGSEGV);
}

#ifndef VMSRS_SANITIZED
// Each fault's handler faults. Where the frames reach the end of the alternate stack depends on its
// size: all within a page, so that each way to leave it has its turn.
BOOST_AUTO_TEST_CASE(dies_without_its_thread_pointer) {
  for (std::size_t more = 0; more < 4096; more += 64)
    BOOST_REQUIRE_EQUAL(signal_of(status_of_child([&] {
                          use_alternate_stack(64 * 1024 + more);
                          alarm(5);
                          lose_thread_pointer();
                        })),
                        SIGSEGV);
}

// No instruction sends it again.
BOOST_AUTO_TEST_CASE(dies_of_a_signal_that_is_raised_where_the_stack_ends) {
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] {
                      use_alternate_stack(64 * 1024);
                      struct sigaction action {};
                      action.sa_handler = raise_at_the_end_of_the_stack;
                      action.sa_flags = SA_ONSTACK;
                      sigaction(SIGUSR1, &action, nullptr);
                      raise(SIGUSR1);
                    })),
                    SIGBUS);
}

#endif

BOOST_AUTO_TEST_CASE(abort_without_a_user) {
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] { std::abort(); })), SIGABRT);
  // Whoever has been contained before: libc's lock and its default action are as they were.
  BOOST_CHECK_EQUAL(signal_of(status_of_child([] {
                      for (int again = 0; again < 2; ++again)
                        if (run([] { std::abort(); }) != VMSRS_UNWOUND) _exit(1);
                      std::thread([] {
                        if (run([] { std::abort(); }) != VMSRS_UNWOUND) _exit(1);
                      }).join();
                      std::abort();
                    })),
                    SIGABRT);
}

BOOST_AUTO_TEST_CASE(abort_stuck_without_a_landing_point) {
  const int status = status_of_child([&] {
    std::thread([&] {
      vmsrs_user_begin(1);
      std::abort();
    }).detach();
    for (unsigned i = 0; i < 200 && server_info().stuck_users == 0; ++i) usleep(10'000);
    _exit(server_info().stuck_users == 1 && run([] { std::abort(); }) == VMSRS_UNWOUND ? 0 : 2);
  });
  BOOST_CHECK_EQUAL(status, 0);
}

// A signal that somebody sends is no fault, even while a user is open.
BOOST_AUTO_TEST_CASE(sent_signals_are_no_faults) {
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] {
                      run([] {
                        kill(getpid(), SIGSEGV);
                        sleep(1);
                      });
                    })),
                    SIGSEGV);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] {
                      run([] {
                        kill(getpid(), SIGABRT);
                        sleep(1);
                      });
                    })),
                    SIGABRT);
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] {
                      run([user = pthread_self()] {
                        std::thread([=] { pthread_kill(user, SIGABRT); }).join();
                        sleep(1);
                      });
                    })),
                    SIGABRT);
}

BOOST_AUTO_TEST_CASE(refused_store_outside_a_scope) {
  std::uint64_t local = 0;
  BOOST_CHECK_EQUAL(signal_of(status_of_child([&] { vmsrs::store(&local, std::uint64_t{1}); })),
                    SIGABRT);
}

BOOST_AUTO_TEST_CASE(stuck_without_a_landing_point) {
  const int status = status_of_child([&] {
    std::thread([&] {
      vmsrs_user_begin(1);
      asm volatile("ud2");
      _exit(1);
    }).detach();
    for (unsigned i = 0; i < 200 && server_info().stuck_users == 0; ++i) usleep(10'000);
    _exit(server_info().stuck_users == 1 && vmsrs::load(&words()[0]) == 1 ? 0 : 2);
  });
  BOOST_CHECK_EQUAL(status, 0);
}

// An overflow of the alternate stack, were it possible, would end the process.
BOOST_AUTO_TEST_CASE(callback_that_faults_for_ever) {
  const int status = status_of_child([&] {
    static std::uint64_t* bad = nullptr;
    bad = wild();
    const int outcome = run([&] { fault(wild()); },
                            [](void*) {
                              for (;;) fault(bad);
                            });
    _exit(outcome == VMSRS_UNWOUND ? 0 : 1);
  });
  BOOST_CHECK_EQUAL(status, 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(former_handlers_are_called) {
  start_engine();
  const auto with_handler = [](bool with_information, int sent) {
    return status_of_child([=] {
      struct sigaction action {};
      if (with_information) {
        action.sa_sigaction = exit_with_43;
        action.sa_flags = SA_SIGINFO;
      } else {
        action.sa_handler = exit_with_42;
      }
      sigaction(SIGSEGV, &action, nullptr);
      DefaultServer server;
      if (run([&] { fault(server.wild()); }) != VMSRS_SUPPRESSED) _exit(2);
      if (sent != 0) raise(sent);
      asm volatile("movl $1, 0" : : : "memory");
    });
  };
  BOOST_CHECK_EQUAL(WEXITSTATUS(with_handler(false, 0)), 42);
  BOOST_CHECK_EQUAL(WEXITSTATUS(with_handler(true, 0)), 43);
  BOOST_CHECK_EQUAL(WEXITSTATUS(with_handler(false, SIGSEGV)), 42);
}
