// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Each kind of fault in the middle of a user's work: the process lives, the user is suppressed, the
// thread runs on to its end point, and others see nothing of what it wrote.
using namespace vmsrs::test;

namespace {

constexpr std::uint64_t kPollution = 0xbad;

std::uint64_t load_elsewhere(const std::uint64_t* from) {
  std::uint64_t value = 0;
  std::thread([&] { value = vmsrs::load(from); }).join();
  return value;
}

enum class End { kReached, kUnwound };

// A user stores, faults, stores again, and reaches its end point.
template <typename Fault>
void check_contained(DefaultServer& server, vmsrs_fault_kind kind, End end, Fault fault) {
  const vmsrs_server_info before = server_info();
  bool went_on = false;
  int crash_calls = 0;
  const int outcome = run(
      [&] {
        vmsrs::store(&server.words()[0], kPollution);
        BOOST_CHECK_EQUAL(load_elsewhere(&server.words()[0]),
                          kPollution);  // exposed, as it must be
        fault();
        went_on = true;
        BOOST_CHECK(vmsrs_user_crashed());
        BOOST_CHECK_EQUAL(load_elsewhere(&server.words()[0]), 1u);
        vmsrs::store(&server.words()[1], kPollution);
        BOOST_CHECK_EQUAL(load_elsewhere(&server.words()[1]), 2u);
        static_cast<void>(vmsrs::load(&server.words()[0]));  // any value, but no fault
      },
      [](void* count) { ++*static_cast<int*>(count); }, &crash_calls);
  BOOST_CHECK_EQUAL(outcome, end == End::kReached ? VMSRS_SUPPRESSED : VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(went_on, end == End::kReached);
  BOOST_CHECK_EQUAL(crash_calls, 1);
  BOOST_CHECK(!vmsrs_user_crashed());
  BOOST_CHECK(server.is_pristine());
  const vmsrs_server_info after = server_info();
  BOOST_CHECK_EQUAL(after.faults[kind] - before.faults[kind], 1u);
  BOOST_CHECK_EQUAL(after.collected_count - before.collected_count, 1u);
  // And the thread can work again.
  BOOST_CHECK_EQUAL(run([&] { vmsrs::store(&server.words()[3], std::uint64_t{4}); }),
                    VMSRS_FINISHED);
}

// The compiler must not see what is wrong with these.
template <typename T>
T hidden(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(fault, DefaultServer)

BOOST_AUTO_TEST_CASE(wild_load) {
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached, [&] {
    std::uint64_t value = ~0ull;
    asm volatile("mov (%1), %0" : "+r"(value) : "r"(wild()));
    BOOST_CHECK_EQUAL(value, 0u);
  });
}

BOOST_AUTO_TEST_CASE(wild_store) {
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached,
                  [&] { *static_cast<volatile std::uint64_t*>(hidden(wild())) = 1; });
}

BOOST_AUTO_TEST_CASE(null_store) {
  check_contained(*this, VMSRS_FAULT_NULL, End::kReached, [] {
    asm volatile("movl $1, 8" : : : "memory");
  });
}

BOOST_AUTO_TEST_CASE(non_canonical) {
  check_contained(*this, VMSRS_FAULT_NON_CANONICAL, End::kReached, [] {
    asm volatile("movl $1, (%0)" : : "r"(0xdead'beef'dead'beefull) : "memory");
  });
}

BOOST_AUTO_TEST_CASE(division_by_zero) {
  check_contained(*this, VMSRS_FAULT_ARITHMETIC, End::kReached, [] {
    volatile int zero = 0;
    int quotient = 5, remainder = 6;
    asm volatile("cltd\n\tidivl %2"
                 : "+a"(quotient), "=&d"(remainder)
                 : "r"(static_cast<int>(zero))
                 : "cc");
    BOOST_CHECK_EQUAL(quotient, 0);
    BOOST_CHECK_EQUAL(remainder, 0);
  });
}

BOOST_AUTO_TEST_CASE(undefined_instruction) {
  check_contained(*this, VMSRS_FAULT_ILLEGAL, End::kUnwound, [] { asm volatile("ud2"); });
}

BOOST_AUTO_TEST_CASE(breakpoints_that_nobody_has_set) {
  check_contained(*this, VMSRS_FAULT_ILLEGAL, End::kUnwound, [] { asm volatile("int3"); });
  check_contained(*this, VMSRS_FAULT_ILLEGAL, End::kUnwound, [] { asm volatile(".byte 0xf1"); });
}

BOOST_AUTO_TEST_CASE(signals_that_a_user_raises) {
  constexpr struct {
    int signal;
    vmsrs_fault_kind kind;
  } kRaised[] = {{SIGSEGV, VMSRS_FAULT_WILD},      {SIGBUS, VMSRS_FAULT_BUS},
                 {SIGFPE, VMSRS_FAULT_ARITHMETIC}, {SIGILL, VMSRS_FAULT_ILLEGAL},
                 {SIGTRAP, VMSRS_FAULT_ILLEGAL},   {SIGABRT, VMSRS_FAULT_ABORT}};
  for (const auto& raised : kRaised)
    check_contained(*this, raised.kind, End::kUnwound, [&] { raise(raised.signal); });
}

BOOST_AUTO_TEST_CASE(bus_error) {
  const int file = memfd_create("short", MFD_CLOEXEC);
  auto* mapped = static_cast<volatile std::uint64_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  check_contained(*this, VMSRS_FAULT_BUS, End::kReached, [&] { *mapped = 1; });
  close(file);
}

BOOST_AUTO_TEST_CASE(hole_left_by_munmap) {
  void* gone = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached, [&] {
    munmap(gone, 4096);
    *static_cast<volatile std::uint64_t*>(gone) = 1;
  });
}

BOOST_AUTO_TEST_CASE(jump_to_null) {
  check_contained(*this, VMSRS_FAULT_NULL, End::kUnwound,
                  [] { hidden(static_cast<void (*)()>(nullptr))(); });
}

BOOST_AUTO_TEST_CASE(jump_to_memory_that_is_not_code) {
  check_contained(*this, VMSRS_FAULT_WILD, End::kUnwound,
                  [&] { hidden(reinterpret_cast<void (*)()>(words()))(); });
}

BOOST_AUTO_TEST_CASE(vector_load_and_store) {
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached, [&] {
    std::uint64_t low = 1;
    asm volatile("movq %0, %%xmm3\n\tmovdqu (%1), %%xmm3\n\tmovq %%xmm3, %0"
                 : "+r"(low)
                 : "r"(wild())
                 : "xmm3");
    BOOST_CHECK_EQUAL(low, 0u);
  });
  if (!__builtin_cpu_supports("avx2")) return;
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached, [&] {
    asm volatile("vmovdqu %%ymm3, (%0)\n\tvzeroupper" : : "r"(wild()) : "xmm3", "memory");
  });
}

BOOST_AUTO_TEST_CASE(block_copy) {
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached, [&] {
    void* to = wild();
    const void* from = words();
    std::size_t count = 4096;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    BOOST_CHECK_EQUAL(count, 0u);
  });
}

BOOST_AUTO_TEST_CASE(bad_stack_pointer) {
  check_contained(*this, VMSRS_FAULT_STACK, End::kUnwound, [&] {
    asm volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(wild() + 4096));
  });
}

namespace {
// Not in line in itself: a frame must be smaller than the guard page below the stack.
[[gnu::noinline]] int recurse(volatile int* deepest) {
  volatile char space[1024];
  space[0] = 1;
  *deepest = *deepest + 1;
  if (*deepest < 0) return 0;
  return recurse(deepest) + space[0];
}
}  // namespace

BOOST_AUTO_TEST_CASE(stack_overflow) {
  // On a thread of its own with a small stack, for the main thread's grows on demand.
  std::thread([&] {
    check_contained(*this, VMSRS_FAULT_STACK, End::kUnwound, [] {
      volatile int deepest = 0;
      recurse(&deepest);
    });
  }).join();
}

BOOST_AUTO_TEST_CASE(fault_inside_a_store_and_a_load_of_the_library) {
  check_contained(*this, VMSRS_FAULT_NULL, End::kReached,
                  [] { vmsrs::store(reinterpret_cast<std::uint64_t*>(16), std::uint64_t{1}); });
  check_contained(*this, VMSRS_FAULT_WILD, End::kReached,
                  [&] { vmsrs_store_range(words() + 8, wild(), 4096); });
  check_contained(*this, VMSRS_FAULT_CHECK, End::kReached, [&] {
    std::uint64_t local = 0;
    vmsrs::store(&local, std::uint64_t{1});
    BOOST_CHECK_EQUAL(local, 0u);
  });
  check_contained(*this, VMSRS_FAULT_NULL, End::kReached, [] {
    BOOST_CHECK_EQUAL(vmsrs::load(reinterpret_cast<const std::uint64_t*>(16)), 0u);
  });
}

BOOST_AUTO_TEST_CASE(error_found_by_the_program) {
  check_contained(*this, VMSRS_FAULT_CHECK, End::kReached,
                  [&] { BOOST_CHECK_EQUAL(crash_suppression_os(VMSRS_FAULT_CHECK, words()), 0); });
  run([&] {
    BOOST_CHECK_EQUAL(crash_suppression_os(VMSRS_FAULT_NONE, nullptr), VMSRS_ERROR_ARGUMENT);
    BOOST_CHECK_EQUAL(crash_suppression_os(VMSRS_FAULT_ABORT, nullptr), 0);
    BOOST_CHECK_EQUAL(crash_suppression_os(VMSRS_FAULT_ABORT, nullptr), 1);
  });
  BOOST_CHECK_EQUAL(crash_suppression_os(VMSRS_FAULT_CHECK, nullptr), VMSRS_ERROR_STATE);
}

BOOST_AUTO_TEST_CASE(fault_in_the_callback) {
  static DefaultServer* server = nullptr;
  server = this;
  const int outcome = run([&] { *static_cast<volatile std::uint64_t*>(wild()) = 1; },
                          [](void*) { *static_cast<volatile std::uint64_t*>(server->wild()) = 2; });
  BOOST_CHECK_EQUAL(outcome, VMSRS_SUPPRESSED);
}

BOOST_AUTO_TEST_SUITE_END()
