// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmsrs/protect.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>
#include <vmsrs/allocator.hpp>
#include <vmsrs/vmsrs.hpp>

#include "../fixture.hpp"
#include "../protection_keys.hpp"
#include "containers.hpp"
#include "stores.hpp"

// Stores of code that knows nothing of the library, with a hook before each: what normal users
// store is there, what a crashed one stores is not, whatever the instruction.
using namespace vmsrs::test;

namespace {

// Counts hooks of stores to regions, and is somebody else's crash at one of them.
struct Hooks {
  std::atomic<std::uint64_t> count{0};
  std::uint64_t crash_at = 0;  // 0: none
};
Hooks hooks;

}  // namespace

// Called by the hooks of this test's build (protect/hooks.cpp).
extern "C" void vmsrs_test_hook(const void* at) {
  if (++hooks.count == hooks.crash_at) crash_suppression_os(VMSRS_FAULT_WILD, at);
}

namespace {

// An eager region of one target, in granules of `granule` bytes.
template <unsigned granule>
struct Protected : DefaultServer {
  Protected() {
    hooks.crash_at = 0;
    for (std::size_t i = 0; i < Target::kBytes; ++i)
      target().bytes[i] = committed[i] = static_cast<unsigned char>(i * 7);
    vmsrs_profile_options options{};
    options.eager = true;
    BOOST_REQUIRE_MESSAGE(
        vmsrs_profile(page, Target::kBytes, granule, &options) == VMSRS_PROFILED_NEW,
        vmsrs_error_message());
    if (std::getenv("VMSRS_TEST_STRICT") != nullptr)
      BOOST_REQUIRE_MESSAGE(vmsrs_make_strict(page) == 0, vmsrs_error_message());
  }
  Target& target() { return *static_cast<Target*>(page); }
  std::uint64_t* word(std::size_t i) { return static_cast<std::uint64_t*>(page) + i; }
  // The first byte that is not as it was committed; kBytes: none.
  std::size_t first_wrong() const {
    const auto* const bytes = static_cast<const unsigned char*>(page);
    std::size_t i = 0;
    while (i < Target::kBytes && bytes[i] == committed[i]) ++i;
    return i;
  }

  // How many hooks of stores to the region the shape has.
  std::uint64_t run_shape(const Shape& shape, std::uint64_t value, int expected,
                          std::uint64_t crash_at = 0) {
    hooks.count = 0;
    hooks.crash_at = crash_at;
    const int outcome = run([&] { shape.make(target(), value); });
    hooks.crash_at = 0;
    BOOST_CHECK_EQUAL(outcome, expected);
    return hooks.count;
  }

  void* const page =
      mmap(nullptr, Target::kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char committed[Target::kBytes];
};

void wait_until(const std::atomic<int>& stage, int wanted) {
  while (stage < wanted) std::this_thread::yield();
}

constexpr std::uint64_t kValue = 0x1234'5678'9abc'def3ull;

// What a shape makes of memory that is nobody's.
template <typename Test>
void expect(Test& test, const Shape& shape, std::uint64_t value) {
  Target plain;
  std::memcpy(plain.bytes, test.committed, Target::kBytes);
  hooks.crash_at = 0;
  shape.make(plain, value);
  // Its own addresses are another page's.
  std::memcpy(test.committed, plain.bytes, Target::kBytes);
}

template <typename Test>
void each_shape(Test& test) {
  for (std::size_t i = 0; i < shape_count; ++i) {
    BOOST_TEST_CONTEXT(shapes[i].name) {
      BOOST_CHECK_GT(test.run_shape(shapes[i], kValue + i, VMSRS_FINISHED), 0u);
      if (std::strcmp(shapes[i].name, "own address") == 0)
        std::memcpy(test.committed, test.page, Target::kBytes);
      else
        expect(test, shapes[i], kValue + i);
      BOOST_CHECK_EQUAL(test.first_wrong(), std::size_t{Target::kBytes});
    }
  }
}

template <typename Test>
void crash_at_each_hook(Test& test) {
  std::uint64_t suppressed = server_info().suppressed_store_count;
  std::uint64_t crashes = 0;
  for (std::size_t i = 0; i < shape_count; ++i) {
    BOOST_TEST_CONTEXT(shapes[i].name) {
      std::uint64_t last = 1;
      for (std::uint64_t at = 1; at <= last; at += 1 + at / 8, ++crashes) {
        last = test.run_shape(shapes[i], kValue, VMSRS_SUPPRESSED, at);
        BOOST_TEST_CONTEXT("hook " << at << " of " << last)
        BOOST_CHECK_EQUAL(test.first_wrong(), std::size_t{Target::kBytes});
      }
    }
  }
  BOOST_TEST_MESSAGE(crashes << " crashes");
  BOOST_CHECK_GT(server_info().suppressed_store_count, suppressed + crashes);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(protect)

BOOST_FIXTURE_TEST_CASE(finished_in_small_granules, Protected<8>) { each_shape(*this); }
BOOST_FIXTURE_TEST_CASE(finished_in_large_granules, Protected<64>) { each_shape(*this); }
BOOST_FIXTURE_TEST_CASE(crashed_in_small_granules, Protected<8>) { crash_at_each_hook(*this); }
BOOST_FIXTURE_TEST_CASE(crashed_in_large_granules, Protected<64>) { crash_at_each_hook(*this); }

// The fault comes between a hook and its store.
BOOST_FIXTURE_TEST_CASE(fault_behind_a_hook, Protected<64>) {
  for (std::uint64_t i = 0; i < 50; ++i) {
    BOOST_CHECK_EQUAL(run([&] { vmsrs_test_store_quotient(word(i), 1234, 0); }), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  }
  BOOST_CHECK_EQUAL(run([&] { vmsrs_test_store_quotient(word(3), 1234, 2); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(*word(3), 617u);
}

// Another user, open, has written to the granule: the bytes of both are there at the end, or those
// of who finishes.
BOOST_FIXTURE_TEST_CASE(granules_of_two_users, Protected<64>) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    const bool first_crashes = round % 3 == 1, second_crashes = round % 3 == 2;
    const Shape& shape = shapes[round % shape_count];
    std::atomic<int> stage{0};
    std::thread first([&] {
      const int outcome = run([&] {
        for (std::size_t i = 1; i < Target::kBytes; i += 64)
          store_byte(&target().bytes[i], static_cast<unsigned char>(round));
        stage = 1;
        wait_until(stage, 2);
        if (first_crashes) *static_cast<volatile std::uint64_t*>(wild()) = 1;
      });
      BOOST_CHECK_EQUAL(outcome, first_crashes ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
    });
    wait_until(stage, 1);
    hooks.crash_at = 0;
    std::uint64_t contended = 0;
    const int outcome = run([&] {
      shape.make(target(), kValue + round);
      contended += server_info().contended_granules;
      if (second_crashes) *static_cast<volatile std::uint64_t*>(wild()) = 1;
    });
    BOOST_CHECK_EQUAL(outcome, second_crashes ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
    BOOST_CHECK_GT(contended, 0u);
    stage = 2;
    first.join();
    if (!first_crashes)
      for (std::size_t i = 1; i < Target::kBytes; i += 64)
        committed[i] = static_cast<unsigned char>(round);
    if (!second_crashes) {
      if (std::strcmp(shape.name, "own address") == 0) {
        std::memcpy(committed, page, Target::kBytes);
        continue;
      }
      expect(*this, shape, kValue + round);
    }
    BOOST_TEST_CONTEXT(shape.name << ", round " << round)
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  }
}

// Threads that add to one word all the time, each as users of its own.
BOOST_FIXTURE_TEST_CASE(one_word_of_many_threads, Protected<8>) {
  constexpr unsigned kThreads = 4;
  constexpr std::uint64_t kUsers = 40, kAdds = 400;
  BOOST_REQUIRE_EQUAL(run([&] { store_word(word(0), 0); }), VMSRS_FINISHED);
  std::atomic<std::uint64_t> finished{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < kUsers; ++i) {
        finished += run([&] { add_to_word(word(0), 1, kAdds); }) == VMSRS_FINISHED;
      }
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_CHECK_EQUAL(finished.load(), kThreads * kUsers);
  BOOST_CHECK_EQUAL(*word(0), finished.load() * kAdds);
}

// Somebody else declares the user crashed while its thread stores without end.
BOOST_FIXTURE_TEST_CASE(declared_by_another_thread, Protected<64>) {
  for (unsigned round = 0; round < 12; ++round) {
    std::atomic<std::uint64_t> number{0};
    std::atomic<bool> done{false};
    std::thread victim([&] {
      const int outcome = run([&] {
        number = vmsrs_user_number();
        for (std::uint64_t i = 0; !done; ++i) {
          store_word(word(i % 512), kValue);
          if (i % 8 == 0) add_to_word(word(i % 64), 1, 1);
        }
      });
      BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    });
    while (number == 0) std::this_thread::yield();
    // No PAUSE: under emulation each one hands the turn to another processor.
    for (volatile unsigned turn = 0; turn < round * 30000;) turn = turn + 1;
    BOOST_CHECK_EQUAL(vmsrs_user_suppress(number), 0);
    done = true;
    victim.join();
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  }
}

// Another user needs the granule while the thread is between the hook and the store.
BOOST_FIXTURE_TEST_CASE(a_thread_between_hook_and_store, Protected<64>) {
  for (std::uint64_t round = 0; round < 20; ++round) {
    std::uint64_t* const words = word(8 * round);
    int stage = 0;
    std::thread first([&] {
      BOOST_CHECK_EQUAL(run([&] { vmsrs_test_store_when(&words[0], 11, &stage); }), VMSRS_FINISHED);
    });
    while (__atomic_load_n(&stage, __ATOMIC_ACQUIRE) != 1) std::this_thread::yield();
    std::thread second(
        [&] { BOOST_CHECK_EQUAL(run([&] { store_word(&words[1], 22); }), VMSRS_FINISHED); });
    const timespec pause = {0, 1'000'000};
    nanosleep(&pause, nullptr);
    __atomic_store_n(&stage, 2, __ATOMIC_RELEASE);
    first.join();
    second.join();
    // What is committed comes back over a wild store.
    BOOST_CHECK_EQUAL(run([&] {
                        store_word(&words[2], 33);
                        *static_cast<volatile std::uint64_t*>(wild()) = 1;
                      }),
                      VMSRS_SUPPRESSED);
    check_invariants();
    BOOST_CHECK_EQUAL(words[0], 11u);
    BOOST_CHECK_EQUAL(words[1], 22u);
  }
}

// Its window stays open while it sleeps; who needs its granule has it closed.
BOOST_FIXTURE_TEST_CASE(a_user_that_sleeps_behind_its_store, Protected<64>) {
  std::atomic<int> stage{0};
  std::thread sleeper([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        store_byte(&target().bytes[5], 1);
                        stage = 1;
                        const timespec pause = {2, 0};
                        nanosleep(&pause, nullptr);
                        stage = 2;
                      }),
                      VMSRS_FINISHED);
  });
  wait_until(stage, 1);
  BOOST_CHECK_EQUAL(run([&] { store_byte(&target().bytes[6], 2); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(stage, 1);
  sleeper.join();
  committed[5] = 1;
  committed[6] = 2;
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  BOOST_CHECK_EQUAL(server_info().stuck_users, 0u);
}

// Stores without a user are committed, each for itself.
BOOST_FIXTURE_TEST_CASE(outside_of_scopes, Protected<64>) {
  hooks.crash_at = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const Shape& shape = shapes[3 * i];
    shape.make(target(), kValue);
    expect(*this, shape, kValue);
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  }
  run([&] {
    store_word(word(1), 1);
    *static_cast<volatile std::uint64_t*>(wild()) = 1;
  });
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
}

BOOST_FIXTURE_TEST_CASE(a_region_of_globals, DefaultServer) {
  vmsrs_profile_options options{};
  options.eager = true;
  BOOST_REQUIRE_EQUAL(vmsrs_profile(&global_target, Target::kBytes, 64, &options),
                      VMSRS_PROFILED_NEW);
  BOOST_CHECK_EQUAL(run([] { store_by_name(3); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(run([&] {
                      store_by_name(9);
                      *static_cast<volatile std::uint64_t*>(wild()) = 1;
                      store_by_name(11);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(global_target.bytes[7], 3);
  BOOST_CHECK_EQUAL(global_target.bytes[8], 1);
  BOOST_CHECK_EQUAL(global_target.bytes[4000], 3);
}

BOOST_FIXTURE_TEST_CASE(what_is_read_from_files, Protected<64>) {
  for (const bool crashes : {false, true}) {
    int ends[2];
    BOOST_REQUIRE_EQUAL(pipe(ends), 0);
    std::FILE* const stream = std::tmpfile();
    BOOST_REQUIRE_EQUAL(write(ends[1], "hello", 5), 5);
    std::fputs("sixsixa line\n", stream);
    std::rewind(stream);
    hooks.count = 0;
    hooks.crash_at = 0;
    const int outcome = run([&] {
      if (crashes) *static_cast<volatile std::uint64_t*>(wild()) = 1;
      BOOST_CHECK(read_line(target(), ends[0], stream));
    });
    BOOST_CHECK_EQUAL(outcome, crashes ? VMSRS_SUPPRESSED : VMSRS_FINISHED);
    if (!crashes) {
      std::memcpy(committed + 10, "hello", 5);
      std::memcpy(committed + 30, "sixsix", 6);
      std::memcpy(committed + 50, "a line\n", 8);
      committed[0] = 1;
    }
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
    std::fclose(stream);
    close(ends[0]);
    close(ends[1]);
  }
}

// More than the library reads at a time: a line has no end before its newline, and what a datagram
// has beyond what was asked for is lost.
BOOST_FIXTURE_TEST_CASE(long_lines_and_datagrams, DefaultServer) {
  constexpr std::size_t kBytes = 256 * 1024, kLine = 50'000, kDatagram = 60'000;
  hooks.crash_at = 0;
  auto* const memory = static_cast<char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  vmsrs_profile_options options{};
  options.eager = true;
  BOOST_REQUIRE_EQUAL(vmsrs_profile(memory, kBytes, 64, &options), VMSRS_PROFILED_NEW);
  std::FILE* const stream = std::tmpfile();
  const std::string line = std::string(kLine, 'l') + "\n";
  std::fputs((line + "rest").c_str(), stream);
  std::rewind(stream);
  int ends[2];
  BOOST_REQUIRE_EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const std::string datagram(kDatagram, 'd');
  BOOST_REQUIRE_EQUAL(send(ends[1], datagram.data(), kDatagram, 0), long{kDatagram});
  char* const other = memory + kBytes / 2;
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(read_line_of(memory, 2 * kLine, stream));
                      BOOST_CHECK_EQUAL(receive(other, kBytes / 2, ends[0]), long{kDatagram});
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK(memory == line);
  BOOST_CHECK(std::string(other, kDatagram) == datagram);
  BOOST_CHECK_EQUAL(other[kDatagram], 0);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(read_line_of(memory, 20'000, stream));  // "rest", then no more
                      BOOST_CHECK(!read_line_of(memory, 20'000, stream));
                    }),
                    VMSRS_FINISHED);
  BOOST_CHECK(std::strcmp(memory, "rest") == 0);
  std::fclose(stream);
  close(ends[0]);
  close(ends[1]);
}

// A crashed user goes on an instruction at a time, and is taken out of its function there: the
// thread's next users run as ever.
BOOST_FIXTURE_TEST_CASE(rescue_behind_a_hook, Protected<64>) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    const int outcome = run([&] {
      crash_suppression_os(VMSRS_FAULT_WILD, word(i));
      BOOST_CHECK_EQUAL(vmsrs::rescue(-5,
                                      [&] {
                                        vmsrs_test_store_quotient(word(i), 1234, 0);
                                        return 0;
                                      }),
                        -5);
    });
    BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(run([&] { vmsrs_test_store_quotient(word(i), 1234, 0); }), VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
    BOOST_CHECK_EQUAL(run([&] { vmsrs_test_store_quotient(word(i), 1234, 2); }), VMSRS_FINISHED);
    BOOST_CHECK_EQUAL(*word(i), 617u);
    const std::uint64_t stored = 617;
    std::memcpy(committed + 8 * i, &stored, sizeof stored);
  }
}

// Containers of the standard library in a region: what finished users changed is there, and they
// are whole after a crash at any store. A crashed user's own changes do nothing: what it does with
// its containers may have no end.
struct Impatient : AttachedServer {
  Impatient() : AttachedServer(0, 100) {}
};
BOOST_FIXTURE_TEST_CASE(containers, Impatient) {
  hooks.crash_at = 0;
  constexpr std::size_t kBytes = 1 << 20;
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  vmsrs_profile_options options{};
  options.eager = true;
  BOOST_REQUIRE_EQUAL(vmsrs_profile(memory, kBytes, 64, &options), VMSRS_PROFILED_NEW);
  if (std::getenv("VMSRS_TEST_STRICT") != nullptr)
    BOOST_REQUIRE_MESSAGE(vmsrs_make_strict(memory) == 0, vmsrs_error_message());
  vmsrs_heap* const heap = vmsrs_heap_create(memory, kBytes, false);
  BOOST_REQUIRE(heap != nullptr);
  vmsrs::MemoryResource resource(heap);
  Containers* shared = nullptr;
  const int made = run(
      [&] { shared = make_containers(vmsrs_heap_alloc(heap, sizeof(Containers), 64), &resource); });
  BOOST_REQUIRE_MESSAGE(made == VMSRS_FINISHED, vmsrs_error_message());
  Containers model(std::pmr::new_delete_resource());
  std::uint64_t crashes = 0, stores = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    hooks.count = 0;
    BOOST_REQUIRE_EQUAL(run([&] { change(*shared, seed, 20); }), VMSRS_FINISHED);
    const std::uint64_t count = hooks.count;
    stores += count;
    change(model, seed, 20);
    BOOST_REQUIRE(*shared == model);
    const std::size_t free = vmsrs_heap_free_bytes(heap);
    hooks.count = 0;
    hooks.crash_at = 1 + seed * 37 % (count != 0 ? count : 1);
    const int outcome = run([&] { change(*shared, seed + 1000, 20); });
    if (hooks.count >= hooks.crash_at) {
      BOOST_CHECK_NE(outcome, VMSRS_FINISHED);
      ++crashes;
    } else {
      change(model, seed + 1000, 20);
    }
    hooks.crash_at = 0;
    BOOST_REQUIRE(*shared == model);
    if (outcome != VMSRS_FINISHED) BOOST_CHECK_EQUAL(vmsrs_heap_free_bytes(heap), free);
  }
  BOOST_TEST_MESSAGE(crashes << " crashes, " << stores << " stores of who finished");
  BOOST_CHECK_GT(crashes, 100u);
  const std::uint64_t swept = server_info().sweep_restore_count;
  check_invariants();  // nothing went past the library
  BOOST_CHECK_EQUAL(server_info().sweep_restore_count, swept);
  BOOST_CHECK_EQUAL(vmsrs_heap_destroy(heap), 0);
}

BOOST_AUTO_TEST_SUITE_END()

// Calls by hand: what is announced is stored plainly, by code without hooks.
BOOST_AUTO_TEST_SUITE(announced)

namespace {

void fill(void* from, std::size_t bytes, int value) {
  std::memset(from, value, bytes);
  asm volatile("" : : "r"(from) : "memory");
}

}  // namespace

// Many stores behind one announcement, in granules and in parts of them.
BOOST_FIXTURE_TEST_CASE(stores_of_a_range, Protected<64>) {
  unsigned char* const from = target().bytes + 100;
  constexpr std::size_t kBytes = 1000;
  BOOST_CHECK(!vmsrs_reserve_store(from, kBytes, nullptr));  // nobody's
  BOOST_CHECK(vmsrs_reserve_store(committed, 1, nullptr));   // in no region
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(vmsrs_reserve_store(from, kBytes, nullptr));
                      fill(from, kBytes, 1);
                    }),
                    VMSRS_FINISHED);
  std::memset(committed + 100, 1, kBytes);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(vmsrs_reserve_store(from, kBytes, nullptr));
                      fill(from, kBytes, 2);
                      *static_cast<volatile std::uint64_t*>(wild()) = 1;
                      BOOST_CHECK(!vmsrs_reserve_store(from, 1, nullptr));  // it has crashed
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  const std::uint64_t swept = server_info().sweep_restore_count;
  check_invariants();  // nothing went past the library
  BOOST_CHECK_EQUAL(server_info().sweep_restore_count, swept);
}

// What another user has is refused, and then nothing has been done: the caller stores through the
// library. When both have gone nobody has the granule, whatever its tag still says.
BOOST_FIXTURE_TEST_CASE(granules_that_were_contended, Protected<64>) {
  constexpr std::uint64_t kOfFirst = 11, kOfSecond = 22, kOfThird = 33;
  std::atomic<int> stage{0};
  std::thread first([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        BOOST_CHECK(vmsrs_reserve_store(word(0), 8, nullptr));
                        fill(word(0), 8, kOfFirst);
                        stage = 1;
                        wait_until(stage, 2);
                      }),
                      VMSRS_FINISHED);
  });
  wait_until(stage, 1);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(!vmsrs_reserve_store(word(1), 8, nullptr));
                      vmsrs_store_u64(word(1), kOfSecond);
                      BOOST_CHECK_EQUAL(server_info().contended_granules, 1u);
                      BOOST_CHECK(!vmsrs_reserve_store(word(2), 8, nullptr));  // really contended
                    }),
                    VMSRS_FINISHED);
  stage = 2;
  first.join();
  const std::uint64_t calls = seam.call_count;
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(vmsrs_reserve_store(word(2), 8, nullptr));
                      fill(word(2), 8, kOfThird);
                      *static_cast<volatile std::uint64_t*>(wild()) = 1;
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_GT(seam.call_count, calls);
  std::memset(committed, kOfFirst, 8);
  std::memcpy(committed + 8, &kOfSecond, 8);
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
}

// More than a user's write set takes.
BOOST_FIXTURE_TEST_CASE(more_than_a_user_can_have, DefaultServer) {
  hooks.crash_at = 0;
  constexpr std::size_t kBytes = 4 << 20, kSome = 1 << 20;
  auto* const memory = static_cast<unsigned char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  vmsrs_profile_options options{};
  options.eager = true;
  BOOST_REQUIRE_EQUAL(vmsrs_profile(memory, kBytes, 64, &options), VMSRS_PROFILED_NEW);
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(vmsrs_reserve_store(memory, kSome, nullptr));
                      BOOST_CHECK(!vmsrs_reserve_store(memory, kBytes, nullptr));
                      fill(memory, kSome, 1);
                    }),
                    VMSRS_FINISHED);
  // A range that is in a region in part only.
  BOOST_CHECK_EQUAL(run([&] {
                      BOOST_CHECK(!vmsrs_reserve_store(memory + kBytes - 8, 16, nullptr));
                      BOOST_CHECK(vmsrs_reserve_store(memory, kSome, nullptr));
                      fill(memory, kSome, 2);
                      *static_cast<volatile std::uint64_t*>(wild()) = 1;
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(std::count(memory, memory + kSome, 1), std::ptrdiff_t{kSome});
  BOOST_CHECK_EQUAL(std::count(memory + kSome, memory + kBytes, 0), std::ptrdiff_t{kBytes - kSome});
}

BOOST_AUTO_TEST_SUITE_END()

// In a strict region: the stores behind hooks go through, and nothing else for longer than it must.
// (The rest of the suite runs on strict regions too, by VMSRS_TEST_STRICT.)
BOOST_AUTO_TEST_SUITE(strict_hooks, *boost::unit_test::precondition(keys_are_there))

namespace {

struct StrictTarget : Protected<64> {
  StrictTarget() { BOOST_REQUIRE_MESSAGE(vmsrs_make_strict(page) == 0, vmsrs_error_message()); }
  static void plain_store(std::uint64_t* to) { *const_cast<volatile std::uint64_t*>(to) = 666; }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(closed_behind_the_scope, StrictTarget) {
  BOOST_CHECK_EQUAL(run([&] { store_word(word(1), 5); }), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(rights_on_strict_memory(), vmsrs::guest::kNoStore);
  BOOST_CHECK_EQUAL(*word(1), 5u);
  const std::uint64_t before = *word(2);
  BOOST_CHECK_EQUAL(run([&] { plain_store(word(2)); }), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(*word(2), before);
  // And by the library's next store within it.
  BOOST_CHECK_EQUAL(run([&] {
                      store_word(word(1), 6);
                      vmsrs::store(word(3), std::uint64_t{7});
                      plain_store(word(2));
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(*word(2), before);
  BOOST_CHECK_EQUAL(*word(1), 5u);
}

BOOST_FIXTURE_TEST_CASE(closed_by_a_crash, StrictTarget) {
  std::uint64_t seen = 0;
  const std::uint64_t before = *word(2);
  const auto look = [&](auto crash) {
    BOOST_CHECK_EQUAL(run([&] {
                        store_word(word(1), 5);
                        crash();
                        BOOST_CHECK_EQUAL(rights_on_strict_memory(), vmsrs::guest::kNoStore);
                        plain_store(word(2));
                        seen = *static_cast<volatile std::uint64_t*>(word(2));
                      }),
                      VMSRS_SUPPRESSED);
    BOOST_CHECK_EQUAL(seen, before);
    BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
  };
  look([&] { plain_store(wild()); });
  look([&] { crash_suppression_os(VMSRS_FAULT_CHECK, nullptr); });
}

// It has written over what the library keeps of its window: then the fault alone closes the key.
BOOST_FIXTURE_TEST_CASE(closed_by_a_crash_whose_window_is_damaged, StrictTarget) {
  const std::uint64_t before = *word(2);
  BOOST_CHECK_EQUAL(run([&] {
                      store_word(word(1), 5);
                      vmsrs_fast_thread.area->hook_window = 0;
                      plain_store(wild());
                      BOOST_CHECK_EQUAL(rights_on_strict_memory(), vmsrs::guest::kNoStore);
                      plain_store(word(2));
                      BOOST_CHECK_EQUAL(*static_cast<volatile std::uint64_t*>(word(2)), before);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
}

// Who needs its granule has it close the window, and with it the key.
BOOST_FIXTURE_TEST_CASE(closed_by_who_waits, StrictTarget) {
  std::atomic<int> stage{0};
  std::uint32_t open = 0, closed = 0;
  std::thread first([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        store_byte(&target().bytes[5], 1);
                        open = rights_on_strict_memory();
                        stage = 1;
                        while (stage < 2) __builtin_ia32_pause();
                        closed = rights_on_strict_memory();
                      }),
                      VMSRS_FINISHED);
  });
  wait_until(stage, 1);
  BOOST_CHECK_EQUAL(run([&] { store_byte(&target().bytes[6], 2); }), VMSRS_FINISHED);
  stage = 2;
  first.join();
  BOOST_CHECK_EQUAL(open, 0u);  // what docs/library.md says
  BOOST_CHECK_EQUAL(closed, vmsrs::guest::kNoStore);
  committed[5] = 1;
  committed[6] = 2;
  BOOST_CHECK_EQUAL(first_wrong(), std::size_t{Target::kBytes});
}

BOOST_AUTO_TEST_SUITE_END()
