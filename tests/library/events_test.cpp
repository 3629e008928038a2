// SPDX-License-Identifier: Apache-2.0
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// What an event says of a crash: where it was, whose it was, and from where that was called.
using namespace vmsrs::test;

namespace {

// Where the calls of the last fault go back to, the innermost first.
std::uint64_t returns[3];
volatile int zero = 0;
volatile int sink = 0;

std::uint64_t number(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

#define FRAMES __attribute__((noinline, noclone, optimize("no-omit-frame-pointer")))
#define NO_FRAMES __attribute__((noinline, noclone, optimize("omit-frame-pointer")))

// One function within another within a third, with frame pointers or without.
#define CHAIN(kind, name, fault)                      \
  kind void name##_leaf(std::uint64_t* wild) {        \
    returns[0] = number(__builtin_return_address(0)); \
    fault;                                            \
    sink = sink + (wild != nullptr);                  \
  }                                                   \
  kind void name##_middle(std::uint64_t* wild) {      \
    returns[1] = number(__builtin_return_address(0)); \
    volatile std::uint64_t local[8] = {number(wild)}; \
    name##_leaf(wild);                                \
    sink = sink + static_cast<int>(local[0]);         \
  }                                                   \
  kind void name(std::uint64_t* wild) {               \
    name##_middle(wild);                              \
    sink = sink + 1;                                  \
  }

CHAIN(FRAMES, store_with_frames, *static_cast<volatile std::uint64_t*>(wild) = 1)
CHAIN(NO_FRAMES, store_without, *static_cast<volatile std::uint64_t*>(wild) = 1)
CHAIN(FRAMES, divide_with_frames, sink = 100 / zero)
CHAIN(NO_FRAMES, divide_without, sink = 100 / zero)
CHAIN(NO_FRAMES, give_up, abort())

std::vector<vmsrs_event> of_type(const std::vector<vmsrs_event>& all, vmsrs_event_type type) {
  std::vector<vmsrs_event> found;
  for (const vmsrs_event& event : all)
    if (event.type == type) found.push_back(event);
  return found;
}

// Of a user that does so.
template <typename Body>
std::vector<vmsrs_event> events_of(Body body, int outcome) {
  (void)take_events();
  BOOST_CHECK_EQUAL(run(body), outcome);
  return take_events();
}

bool traced(const vmsrs_event& event, std::uint64_t address) {
  for (unsigned i = 0; i < event.trace_count; ++i)
    if (event.trace[i] == address) return true;
  return false;
}

std::string label_of(const vmsrs_event& event) {
  return {reinterpret_cast<const char*>(event.label_text), event.label_bytes};
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(events, DefaultServer)

BOOST_AUTO_TEST_CASE(a_fault_is_told_with_where_it_was) {
  struct Case {
    void (*fault)(std::uint64_t*);
    void (*leaf)(std::uint64_t*);
    unsigned kind;
    bool has_frames;
  };
  const Case cases[] = {
      {store_with_frames, store_with_frames_leaf, VMSRS_FAULT_WILD, true},
      {store_without, store_without_leaf, VMSRS_FAULT_WILD, false},
      {divide_with_frames, divide_with_frames_leaf, VMSRS_FAULT_ARITHMETIC, true},
      {divide_without, divide_without_leaf, VMSRS_FAULT_ARITHMETIC, false},
  };
  constexpr std::uint64_t kLeafBytes = 96;
  for (const Case& each : cases) {
    const auto all = events_of([&] { each.fault(wild()); }, VMSRS_SUPPRESSED);
    const auto crashes = of_type(all, VMSRS_EVENT_CRASH);
    BOOST_REQUIRE_EQUAL(crashes.size(), 1u);
    const vmsrs_event& crash = crashes[0];
    BOOST_CHECK_EQUAL(crash.fault.kind, each.kind);
    BOOST_CHECK_EQUAL(crash.fault.thread_id, static_cast<unsigned>(syscall(SYS_gettid)));
    BOOST_CHECK_LT(crash.fault.instruction - number(reinterpret_cast<void*>(each.leaf)),
                   kLeafBytes);
    if (each.kind == VMSRS_FAULT_WILD) BOOST_CHECK_EQUAL(crash.fault.address, number(wild()));
    BOOST_CHECK_EQUAL(crash.label, 7u);
    BOOST_CHECK_GT(crash.generation + 1, 0u);
    BOOST_REQUIRE_GE(crash.trace_count, 2u);
    if (each.has_frames) {
      BOOST_CHECK_EQUAL(crash.trace[0], returns[0]);
      BOOST_CHECK_EQUAL(crash.trace[1], returns[1]);
    }
    BOOST_CHECK(traced(crash, returns[0]));
    BOOST_CHECK(traced(crash, returns[1]));
    for (unsigned i = 0; i < crash.trace_count; ++i)
      BOOST_CHECK(crash.trace[i] != crash.fault.instruction);
    BOOST_CHECK_EQUAL(of_type(all, VMSRS_EVENT_UNWOUND).size(), 0u);
    BOOST_CHECK_EQUAL(of_type(all, VMSRS_EVENT_COLLECTED).size(), 1u);
    BOOST_CHECK_EQUAL(of_type(all, VMSRS_EVENT_SUPPRESSION_ENDED).size(), 1u);
  }
}

BOOST_AUTO_TEST_CASE(who_gives_up_is_unwound) {
  const auto all = events_of([&] { give_up(wild()); }, VMSRS_UNWOUND);
  const auto crashes = of_type(all, VMSRS_EVENT_CRASH);
  BOOST_REQUIRE_EQUAL(crashes.size(), 1u);
  BOOST_CHECK_EQUAL(crashes[0].fault.kind, unsigned{VMSRS_FAULT_ABORT});
  BOOST_CHECK(traced(crashes[0], returns[0]));  // libc's own frames are before it
  const auto unwound = of_type(all, VMSRS_EVENT_UNWOUND);
  BOOST_REQUIRE_EQUAL(unwound.size(), 1u);
  BOOST_CHECK_EQUAL(unwound[0].generation, crashes[0].generation);
  BOOST_CHECK_LT(crashes[0].sequence, unwound[0].sequence);
  BOOST_CHECK_LT(unwound[0].sequence, of_type(all, VMSRS_EVENT_COLLECTED).at(0).sequence);
}

// Neither a stack that is not there nor frames in a circle end the process, or the search.
BOOST_AUTO_TEST_CASE(of_a_bad_stack_nothing_is_told) {
  const auto nowhere = events_of(
      [&] {
        asm volatile("mov %0, %%rsp\n\tmov %0, %%rbp\n\tud2" : : "r"(wild()) : "memory");
      },
      VMSRS_UNWOUND);
  BOOST_REQUIRE_EQUAL(of_type(nowhere, VMSRS_EVENT_CRASH).size(), 1u);
  BOOST_CHECK_EQUAL(of_type(nowhere, VMSRS_EVENT_CRASH)[0].trace_count, 0u);
  alignas(16) static std::uint64_t circle[16];
  const auto in_a_circle = events_of(
      [&] {
        asm volatile(
            "lea 1f(%%rip), %%rax\n\tmov %%rax, 8(%0)\n\tmov %0, (%0)\n\tmov %0, %%rbp\n\t"
            "mov %0, %%rsp\n\tud2\n\tcall abort\n1:\n\tud2"
            :
            : "r"(circle)
            : "memory", "rax");
      },
      VMSRS_UNWOUND);
  const auto crashes = of_type(in_a_circle, VMSRS_EVENT_CRASH);
  BOOST_REQUIRE_EQUAL(crashes.size(), 1u);
  BOOST_CHECK_EQUAL(crashes[0].trace_count, 1u);
}

BOOST_AUTO_TEST_CASE(the_label_is_in_every_event_of_its_user) {
  const auto all = events_of(
      [&] {
        BOOST_CHECK_EQUAL(vmsrs::label_user("session 4711"), 0);
        *static_cast<volatile std::uint64_t*>(wild()) = 1;
      },
      VMSRS_SUPPRESSED);
  unsigned users = 0;
  for (const vmsrs_event& event : all)
    if (event.slot != VMSRS_EVENT_NO_USER) {
      BOOST_CHECK_EQUAL(label_of(event), "session 4711");
      ++users;
    }
  BOOST_CHECK_EQUAL(users, 3u);  // suppression, crash, collection
}

BOOST_AUTO_TEST_CASE(of_users_that_others_declare_crashed) {
  const auto all = events_of(
      [&] {
        suppress_as_operator(vmsrs_user_number());
        vmsrs::store(&words()[0], std::uint64_t{5});  // hears of it
      },
      VMSRS_SUPPRESSED);
  const auto crashes = of_type(all, VMSRS_EVENT_CRASH);
  BOOST_REQUIRE_EQUAL(crashes.size(), 1u);
  BOOST_CHECK_EQUAL(crashes[0].fault.kind, unsigned{VMSRS_FAULT_OPERATOR});
  BOOST_CHECK_EQUAL(crashes[0].trace_count, 0u);
  BOOST_CHECK_EQUAL(of_type(all, VMSRS_EVENT_COLLECTED).at(0).suppressed_store_count, 1u);
}

BOOST_AUTO_TEST_SUITE_END()
