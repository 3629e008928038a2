// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "fixture.hpp"

// Faults that are not a user's: as if the library were not there. Each in a child process.
using namespace vmsrs::test;

namespace {

void fault(std::uint64_t* wild) { *static_cast<volatile std::uint64_t*>(wild) = 1; }

void exit_with_42(int) { _exit(42); }
void exit_with_43(int, siginfo_t* info, void* context) {
  _exit(info != nullptr && info->si_addr == nullptr && context != nullptr ? 43 : 1);
}

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
