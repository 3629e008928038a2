// SPDX-License-Identifier: Apache-2.0
#include "locks.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <vmsrs/internal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"
#include "interpose.hpp"

// Mutexes and reader-writer locks that a user holds when it has to be unwound, or waits for.
using namespace vmsrs::test;

#ifndef VMSRS_SANITIZED
namespace {

constexpr std::uint64_t kPollution = 0xbad;
constexpr std::uint32_t kLimitMs = 300;

// What on_lock_left has seen.
struct Left {
  std::vector<void*> locks;
  std::uint64_t* words = nullptr;
  bool restored = true, held = true;
};
Left left;

template <typename Function>
auto elsewhere(Function function) {
  decltype(function()) result{};
  std::thread([&] { result = function(); }).join();
  return result;
}

bool is_free(pthread_mutex_t& mutex) {
  return elsewhere([&] {
    const int result = pthread_mutex_trylock(&mutex);
    if (result == 0) pthread_mutex_unlock(&mutex);
    return result == 0;
  });
}
bool is_free(pthread_rwlock_t& lock) {
  return elsewhere([&] {
    const int result = pthread_rwlock_trywrlock(&lock);
    if (result == 0) pthread_rwlock_unlock(&lock);
    return result == 0;
  });
}

void note_left(void* lock) {
  left.locks.push_back(lock);
  left.restored = left.restored && left.words[0] == 1;
  left.held = left.held && vmsrs_user_number() == 0 &&
              elsewhere([=] {
                return pthread_mutex_trylock(static_cast<pthread_mutex_t*>(lock));
              }) == EBUSY;
}

vmsrs_options options_with(bool locks_stay, void (*on_lock_left)(void*)) {
  vmsrs_options options{};
  options.suppression_limit_ms = kLimitMs;
  options.site_crash_limit = options.crash_limit = 1'000'000;
  options.locks_stay = locks_stay;
  options.on_lock_left = on_lock_left;
  return options;
}

struct LockingServer : AttachedServer {
  explicit LockingServer(bool locks_stay = false, void (*on_lock_left)(void*) = nullptr)
      : AttachedServer(options_with(locks_stay, on_lock_left)) {
    left = {};
    left.words = words();
  }
  ~LockingServer() {
    pthread_mutex_destroy(&mutex);
    pthread_rwlock_destroy(&rwlock);
  }
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
  pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
};
struct LeavingServer : LockingServer {
  LeavingServer() : LockingServer(false, note_left) {}
};
struct StayingServer : LockingServer {
  StayingServer() : LockingServer(true) {}
};

void step_over_a_fault(AttachedServer& server) {
  *static_cast<volatile std::uint64_t*>(server.wild()) = 1;
}
void be_unwound() { asm volatile("ud2"); }

std::uint64_t ms_since(std::chrono::steady_clock::time_point began) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now() - began)
                                        .count());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(locks)

BOOST_FIXTURE_TEST_CASE(what_an_unwound_user_holds, LeavingServer) {
  const int outcome = run([&] {
    vmsrs::store(&words()[0], kPollution);
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&other);
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    be_unwound();
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  BOOST_CHECK((left.locks == std::vector<void*>{&other, &mutex}));
  BOOST_CHECK(left.restored);
  BOOST_CHECK(left.held);
  BOOST_CHECK(is_free(mutex));
  BOOST_CHECK(is_free(other));
}

BOOST_FIXTURE_TEST_CASE(reader_writer_locks, LockingServer) {
  for (const auto take : {pthread_rwlock_rdlock, pthread_rwlock_wrlock, pthread_rwlock_tryrdlock,
                          pthread_rwlock_trywrlock}) {
    BOOST_CHECK_EQUAL(run([&] {
                        if (take(&rwlock) == 0) be_unwound();
                      }),
                      VMSRS_UNWOUND);
    BOOST_CHECK(is_free(rwlock));
  }
}

BOOST_FIXTURE_TEST_CASE(scoped_locks_and_recursive_ones, LockingServer) {
  std::recursive_mutex recursive;
  std::mutex simple;
  BOOST_CHECK_EQUAL(run([&] {
                      const std::scoped_lock once(recursive, simple);
                      const std::scoped_lock twice(recursive);
                      be_unwound();
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(is_free(*recursive.native_handle()));
  BOOST_CHECK(is_free(*simple.native_handle()));
}

// What runs on lets go by itself, or keeps a lock on purpose.
BOOST_FIXTURE_TEST_CASE(a_user_that_runs_on, LeavingServer) {
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      pthread_mutex_lock(&other);
                      step_over_a_fault(*this);
                      pthread_mutex_unlock(&mutex);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK(left.locks.empty());
  BOOST_CHECK(is_free(mutex));
  BOOST_CHECK(!is_free(other));
  BOOST_CHECK_EQUAL(pthread_mutex_unlock(&other), 0);
  // Of a user before, and taken before the scope: not the next one's.
  pthread_mutex_lock(&other);
  BOOST_CHECK_EQUAL(run([] { be_unwound(); }), VMSRS_UNWOUND);
  BOOST_CHECK(left.locks.empty());
  BOOST_CHECK(!is_free(other));
  pthread_mutex_unlock(&other);
}

// The program's own way: what on_crash lets go of is somebody else's by the end of the scope.
BOOST_FIXTURE_TEST_CASE(on_crash_lets_go, LeavingServer) {
  std::atomic<bool> taken{false}, over{false};
  std::thread next;
  BOOST_CHECK_EQUAL(
      run(
          [&] {
            pthread_mutex_lock(&mutex);
            next = std::thread([&] {
              pthread_mutex_lock(&mutex);
              taken = true;
              while (!over) std::this_thread::yield();
              pthread_mutex_unlock(&mutex);
            });
            step_over_a_fault(*this);
            while (!taken) std::this_thread::yield();
            be_unwound();
          },
          [](void* held) { pthread_mutex_unlock(static_cast<pthread_mutex_t*>(held)); }, &mutex),
      VMSRS_UNWOUND);
  BOOST_CHECK(left.locks.empty());
  BOOST_CHECK(!is_free(mutex));
  over = true;
  next.join();
}

BOOST_FIXTURE_TEST_CASE(a_lock_that_was_let_go_of_unseen, LeavingServer) {
  std::atomic<bool> taken{false}, over{false};
  std::thread next;
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      vmsrs::guest::lock_functions().mutex.let_go(&mutex);
                      next = std::thread([&] {
                        pthread_mutex_lock(&mutex);
                        taken = true;
                        while (!over) std::this_thread::yield();
                        pthread_mutex_unlock(&mutex);
                      });
                      while (!taken) std::this_thread::yield();
                      be_unwound();
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(left.locks.empty());
  BOOST_CHECK(!is_free(mutex));
  over = true;
  next.join();
}

// A guard outside of the body, which is somebody else's lock by the time of its destructor.
BOOST_FIXTURE_TEST_CASE(a_guard_around_the_scope, LockingServer) {
  std::mutex shared;
  {
    std::unique_lock<std::mutex> guard(shared, std::defer_lock);
    BOOST_CHECK_EQUAL(run([&] {
                        guard.lock();
                        be_unwound();
                      }),
                      VMSRS_UNWOUND);
    elsewhere([&] { return pthread_mutex_lock(shared.native_handle()); });
  }
  BOOST_CHECK(!is_free(*shared.native_handle()));
  vmsrs::guest::lock_functions().mutex.let_go(shared.native_handle());
  // And what the thread takes from then on is its own.
  shared.lock();
  shared.unlock();
  BOOST_CHECK(is_free(*shared.native_handle()));
}

BOOST_FIXTURE_TEST_CASE(nested_scopes_are_one_user, LockingServer) {
  BOOST_CHECK_EQUAL(run([&] {
                      run([&] { pthread_mutex_lock(&mutex); });
                      run([] { be_unwound(); });
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(is_free(mutex));
}

// Its frame is somebody else's when the user is over.
BOOST_FIXTURE_TEST_CASE(a_lock_within_the_body, LeavingServer) {
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_t local = PTHREAD_MUTEX_INITIALIZER;
                      pthread_mutex_lock(&local);
                      pthread_mutex_lock(&mutex);
                      be_unwound();
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK((left.locks == std::vector<void*>{&mutex}));
}

BOOST_FIXTURE_TEST_CASE(a_lock_whose_memory_is_gone, LockingServer) {
  void* const page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* const lock = new (page) pthread_mutex_t(PTHREAD_MUTEX_INITIALIZER);
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      pthread_mutex_lock(lock);
                      munmap(page, 4096);
                      be_unwound();
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(is_free(mutex));
}

// With rubbish, or so that another lock stands in the place of its own.
BOOST_FIXTURE_TEST_CASE(a_list_that_was_written_over, LeavingServer) {
  for (const bool exchanges : {false, true}) {
    unsigned written = 0;
    const int outcome = run([&] {
      pthread_mutex_lock(&mutex);
      vmsrs_internal_range ranges[40];
      const std::size_t count = vmsrs_internal_ranges(ranges, 40);
      for (std::size_t i = 0; i < count; ++i) {
        if (std::strcmp(ranges[i].name, "the user's locks") != 0) continue;
        auto* const list = static_cast<void**>(ranges[i].address);
        written += exchanges ? 0 : 1;
        if (!exchanges) std::memset(ranges[i].address, 0xa5, ranges[i].bytes);
        for (std::size_t word = 0; exchanges && word < ranges[i].bytes / 8; ++word) {
          if (list[word] != &mutex) continue;
          list[word] = &other;
          ++written;
        }
      }
      be_unwound();
    });
    BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
    BOOST_CHECK_EQUAL(written, 1u);
    BOOST_CHECK(!is_free(mutex));
    pthread_mutex_unlock(&mutex);
  }
  BOOST_CHECK(left.locks.empty());
}

BOOST_FIXTURE_TEST_CASE(locks_that_stay, StayingServer) {
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      be_unwound();
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK(!is_free(mutex));
  pthread_mutex_unlock(&mutex);
}

// A crashed user waits no longer than its time, and nothing is left of its having waited.
BOOST_FIXTURE_TEST_CASE(waits_of_crashed_users_end, LockingServer) {
  std::atomic<bool> taken{false}, over{false};
  std::thread holder([&] {
    pthread_mutex_lock(&mutex);
    pthread_rwlock_wrlock(&rwlock);
    taken = true;
    while (!over) std::this_thread::yield();
    pthread_rwlock_unlock(&rwlock);
    pthread_mutex_unlock(&mutex);
  });
  while (!taken) std::this_thread::yield();
  const auto wait = [&](auto take, auto* lock) {
    const auto began = std::chrono::steady_clock::now();
    bool returned = false;
    BOOST_CHECK_EQUAL(run([&] {
                        pthread_mutex_lock(&other);
                        step_over_a_fault(*this);
                        take(lock);
                        returned = true;
                      }),
                      VMSRS_UNWOUND);
    BOOST_CHECK(!returned);
    BOOST_CHECK_GE(ms_since(began), kLimitMs);
    BOOST_CHECK(is_free(other));
  };
  wait(pthread_mutex_lock, &mutex);
  for (int again = 0; again < 2; ++again) {
    wait(pthread_rwlock_rdlock, &rwlock);
    wait(pthread_rwlock_wrlock, &rwlock);
  }
  over = true;
  holder.join();
  BOOST_CHECK(is_free(mutex));
  BOOST_CHECK(is_free(rwlock));
  BOOST_CHECK_EQUAL(elsewhere([&] { return pthread_rwlock_tryrdlock(&rwlock); }), 0);
}

// One that somebody else declares crashed while it waits; here for its own lock.
BOOST_FIXTURE_TEST_CASE(waits_of_users_that_are_declared_crashed, LockingServer) {
  std::atomic<std::uint64_t> number{0};
  std::thread watchdog([&] {
    while (number == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    vmsrs_user_suppress(number);
  });
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      number = vmsrs_user_number();
                      pthread_mutex_lock(&mutex);
                    }),
                    VMSRS_UNWOUND);
  watchdog.join();
  BOOST_CHECK(is_free(mutex));
}

BOOST_FIXTURE_TEST_CASE(waits_for_a_condition, LockingServer) {
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  const auto began = std::chrono::steady_clock::now();
  BOOST_CHECK_EQUAL(run([&] {
                      pthread_mutex_lock(&mutex);
                      step_over_a_fault(*this);
                      for (;;) pthread_cond_wait(&condition, &mutex);
                    }),
                    VMSRS_UNWOUND);
  BOOST_CHECK_GE(ms_since(began), kLimitMs);
  BOOST_CHECK(is_free(mutex));
  // And it still wakes those who wait.
  bool ready = false;
  std::thread waits([&] {
    pthread_mutex_lock(&mutex);
    while (!ready) pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
  });
  pthread_mutex_lock(&mutex);
  ready = true;
  pthread_mutex_unlock(&mutex);
  pthread_cond_signal(&condition);
  waits.join();
  BOOST_CHECK_EQUAL(pthread_cond_destroy(&condition), 0);
}

// As the C library has it.
BOOST_FIXTURE_TEST_CASE(results, LockingServer) {
  const auto look = [&] {
    pthread_mutexattr_t checks;
    pthread_mutexattr_init(&checks);
    pthread_mutexattr_settype(&checks, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t checking;
    pthread_mutex_init(&checking, &checks);
    BOOST_CHECK_EQUAL(pthread_mutex_lock(&checking), 0);
    BOOST_CHECK_EQUAL(pthread_mutex_lock(&checking), EDEADLK);
    BOOST_CHECK_EQUAL(pthread_mutex_trylock(&checking), EBUSY);
    BOOST_CHECK_EQUAL(pthread_mutex_unlock(&checking), 0);
    BOOST_CHECK_EQUAL(pthread_mutex_unlock(&checking), EPERM);
    pthread_mutexattr_setprotocol(&checks, PTHREAD_PRIO_INHERIT);
    pthread_mutex_t inheriting;
    pthread_mutex_init(&inheriting, &checks);
    BOOST_CHECK_EQUAL(pthread_mutex_lock(&inheriting), 0);
    BOOST_CHECK_EQUAL(pthread_mutex_unlock(&inheriting), 0);
    timespec soon{};
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 1;
    std::thread([&] { pthread_mutex_lock(&mutex); }).join();
    BOOST_CHECK_EQUAL(pthread_mutex_timedlock(&mutex, &soon), ETIMEDOUT);
    const timespec wrong = {soon.tv_sec + 1, -1};
    BOOST_CHECK_EQUAL(pthread_mutex_timedlock(&mutex, &wrong), EINVAL);
    std::memset(&mutex, 0, sizeof mutex);
    pthread_rwlock_wrlock(&rwlock);
    BOOST_CHECK_EQUAL(elsewhere([&] { return pthread_rwlock_tryrdlock(&rwlock); }), EBUSY);
    BOOST_CHECK_EQUAL(pthread_rwlock_rdlock(&rwlock), EDEADLK);
    pthread_rwlock_unlock(&rwlock);
  };
  look();
  BOOST_CHECK_EQUAL(run(look), VMSRS_FINISHED);
}

// What the frames held that a rescue leaves is free for who goes on; what was taken before stays.
BOOST_FIXTURE_TEST_CASE(held_in_a_function_that_is_left, LockingServer) {
  pthread_mutex_t outer = PTHREAD_MUTEX_INITIALIZER, inner = PTHREAD_MUTEX_INITIALIZER;
  pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
  int outer_again = -1, inner_again = -1, shared_again = -1;
  const int outcome = run([&] {
    pthread_mutex_lock(&outer);
    const int value = vmsrs::rescue(-5, [&] {
      pthread_mutex_lock(&inner);
      pthread_rwlock_rdlock(&shared);
      *static_cast<volatile std::uint64_t*>(wild()) = 1;
      return 0;
    });
    BOOST_CHECK_EQUAL(value, -5);
    outer_again = pthread_mutex_trylock(&outer);
    inner_again = pthread_mutex_trylock(&inner);
    shared_again = pthread_rwlock_trywrlock(&shared);
    pthread_rwlock_unlock(&shared);
    pthread_mutex_unlock(&inner);
    pthread_mutex_unlock(&outer);
  });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(outer_again, EBUSY);
  BOOST_CHECK_EQUAL(inner_again, 0);
  BOOST_CHECK_EQUAL(shared_again, 0);
}

BOOST_AUTO_TEST_SUITE_END()
#endif
