// SPDX-License-Identifier: Apache-2.0
// The hypervisor has contradicted itself and Linux goes on: so do servers, unprotected. Each case
// in a child, for a process never comes back from it.
#include <signal.h>
#include <sys/wait.h>
#include <vmsrs/vmsrs.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"

namespace vmsrs::test {
namespace {

// In a child: the line where it failed is its exit status.
void require(bool holds, int line = __builtin_LINE()) {
  if (!holds) _exit(line < 256 ? line : 255);
}

void abandon_engine() { seam.no_engine = true; }

// By a call of another thread's, as in a server.
void abandon_engine_and_meet_it(std::uint64_t* word) {
  abandon_engine();
  std::thread([=] { vmsrs::store(word, std::uint64_t{1}); }).join();
}

void fault(std::uint64_t* at) { asm volatile("movq $1, (%0)" : : "r"(at) : "memory"); }

template <typename Body>
void lives(Body body) {
  const auto told = told_by_child(body);
  BOOST_CHECK_EQUAL(WIFEXITED(told.status), true);
  BOOST_CHECK_EQUAL(WEXITSTATUS(told.status), 0);
  BOOST_CHECK_EQUAL(signal_of(told.status), 0);
  std::size_t lines = 0;
  for (const char c : told.text) lines += c == '\n';
  BOOST_CHECK_EQUAL(lines, 1u);
  BOOST_CHECK_MESSAGE(told.text.find("nothing of this process is protected") != std::string::npos,
                      told.text);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(unprotected, DefaultServer)

// A store that needs the engine, for another user has the word, and one that does not.
BOOST_AUTO_TEST_CASE(stores_of_open_users_reach_memory) {
  lives([&] {
    std::atomic<int> turn{0};
    const auto wait_for = [&](int wanted) {
      while (turn != wanted) std::this_thread::yield();
    };
    int others_outcome = -100;
    std::thread other([&] {
      others_outcome = run([&] {
        vmsrs::store(&words()[64], std::uint64_t{10});
        turn = 1;
        wait_for(2);
        vmsrs::store(&words()[64], std::uint64_t{30});
        vmsrs::store(&words()[65], std::uint64_t{31});
      });
    });
    wait_for(1);
    const int outcome = run([&] {
      vmsrs::store(&words()[0], std::uint64_t{100});
      abandon_engine();
      vmsrs::store(&words()[64], std::uint64_t{20});
      require(words()[64] == 20);
      vmsrs::store(&words()[0], std::uint64_t{101});
      vmsrs::store(&words()[1], std::uint64_t{102});
      require(vmsrs::load(&words()[1]) == 102);
    });
    turn = 2;
    other.join();
    require(outcome == VMSRS_FINISHED && others_outcome == VMSRS_FINISHED);
    require(words()[0] == 101 && words()[1] == 102 && words()[64] == 30 && words()[65] == 31);
  });
}

BOOST_AUTO_TEST_CASE(the_end_of_a_user_finds_it_out) {
  lives([&] {
    const int outcome = run([&] {
      vmsrs::store(&words()[5], std::uint64_t{55});
      abandon_engine();
    });
    require(outcome == VMSRS_FINISHED && words()[5] == 55);
    require(vmsrs_user_begin(3) == 0);
    vmsrs::store(&words()[5], std::uint64_t{56});
    require(vmsrs_user_end() == VMSRS_FINISHED && words()[5] == 56);
  });
}

BOOST_AUTO_TEST_CASE(the_beginning_of_a_user_finds_it_out) {
  lives([&] {
    abandon_engine();
    std::thread([&] {  // has had no user: its first one is asked for
      bool ran = false;
      require(run([&] { ran = true; }) == VMSRS_FINISHED && ran);
    })
        .join();
  });
}

BOOST_AUTO_TEST_CASE(afterwards_memory_is_plain) {
  lives([&] {
    abandon_engine_and_meet_it(&words()[9]);
    require(words()[9] == 1);
    bool ran = false;
    const int outcome = run([&] {
      ran = true;
      vmsrs::store(&words()[2], std::uint64_t{7});
      std::uint64_t expected = 7, desired = 8;
      require(vmsrs_compare_exchange(&words()[2], &expected, &desired, 8) && words()[2] == 8);
      require(!vmsrs_compare_exchange(&words()[2], &expected, &desired, 8) && expected == 8);
      vmsrs_fill_range(&words()[16], 0x5a, 64);
      require(words()[17] == 0x5a5a5a5a5a5a5a5a);
      vmsrs_assign(&words()[32], &words()[16], 64);
      require(words()[33] == 0x5a5a5a5a5a5a5a5a);
      const std::uint64_t value = 12;
      vmsrs_store_range(&words()[40], &value, 8);
      require(vmsrs::load(&words()[40]) == 12);
      require(!vmsrs_user_crashed());
    });
    require(ran && outcome == VMSRS_FINISHED);
    require(vmsrs_user_begin(1) == 0 && vmsrs_user_end() == VMSRS_FINISHED);
    require(vmsrs_user_suppress(1) == VMSRS_ERROR_NO_PLATFORM);
    require(std::strstr(vmsrs_error_message(), "contradicted itself") != nullptr);
    require(vmsrs_detach() == VMSRS_ERROR_NO_PLATFORM);
  });
}

// What a user stored before its crash stays, for nobody takes it back; what comes behind does not
// reach memory, and its thread does not run on.
BOOST_AUTO_TEST_CASE(a_user_that_had_crashed_is_unwound) {
  lives([&] {
    bool behind = false;
    const int outcome = run([&] {
      vmsrs::store(&words()[3], std::uint64_t{666});
      fault(wild());
      abandon_engine();
      vmsrs::store(&words()[4], std::uint64_t{666});
      behind = true;
    });
    require(outcome == VMSRS_UNWOUND && !behind && words()[4] == 5);
    require(run([&] { vmsrs::store(&words()[4], std::uint64_t{6}); }) == VMSRS_FINISHED);
    require(words()[4] == 6);
  });
}

BOOST_AUTO_TEST_CASE(a_crashed_users_next_fault_unwinds_it) {
  lives([&] {
    const int outcome = run([&] {
      fault(wild());
      abandon_engine_and_meet_it(&words()[9]);
      fault(wild());
    });
    require(outcome == VMSRS_UNWOUND);
  });
}

BOOST_AUTO_TEST_CASE(the_end_of_a_crashed_user) {
  lives([&] {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const int outcome = run([&] {
      pthread_mutex_lock(&lock);
      fault(wild());
      pthread_mutex_unlock(&lock);
      abandon_engine();
    });
    require(outcome == VMSRS_SUPPRESSED);
    require(pthread_mutex_trylock(&lock) == 0);
  });
}

// As without the library.
BOOST_AUTO_TEST_CASE(a_fault_ends_the_process) {
  for (const bool known : {true, false}) {
    const auto told = told_by_child([&] {
      known ? abandon_engine_and_meet_it(&words()[9]) : abandon_engine();
      run([&] {
        vmsrs::store(&words()[3], std::uint64_t{666});
        fault(wild());
      });
    });
    BOOST_CHECK_EQUAL(signal_of(told.status), SIGSEGV);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace vmsrs::test
