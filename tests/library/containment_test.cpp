// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vmsrs/internal.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vmsrs/vmsrs.hpp>

#include "child.hpp"
#include "fixture.hpp"

// The mode that is changed at run time, and the limits within which users may crash.
using namespace vmsrs::test;

namespace {

constexpr std::uint32_t kSiteLimit = 5, kServerLimit = 12;

struct Limited : AttachedServer {
  explicit Limited(bool refuses = false, std::uint32_t mode = VMSRS_CONTAINMENT_ON,
                   std::uint32_t window_s = 60)
      : AttachedServer(options(refuses, mode, window_s)) {}

  static vmsrs_options options(bool refuses, std::uint32_t mode, std::uint32_t window_s) {
    vmsrs_options options{};
    options.suppression_limit_ms = 300'000;
    options.containment = mode;
    options.site_crash_limit = kSiteLimit;
    options.crash_limit = kServerLimit;
    options.crash_window_s = window_s;
    options.site_limit_refuses = refuses;
    return options;
  }
};
struct Refusing : Limited {
  Refusing() : Limited(true, VMSRS_CONTAINMENT_ON, 1) {}
};
struct Unlimited : AttachedServer {
  Unlimited() : AttachedServer(options()) {}

  static vmsrs_options options() {
    vmsrs_options options{};
    options.suppression_limit_ms = 300'000;
    options.site_crash_limit = options.crash_limit = options.fault_limit = 1'000'000'000;
    return options;
  }
};

[[gnu::noinline]] void fault(std::uint64_t* wild) {
  *static_cast<volatile std::uint64_t*>(wild) = 1;
}

// One instruction for each number.
template <int kSite>
[[gnu::noinline]] void fault_at(std::uint64_t* wild) {
  asm volatile("movq %1, (%0)" : : "r"(wild), "i"(kSite) : "memory");
}

int crash(AttachedServer& server, std::uint64_t label = 7) {
  return run(
      [&] {
        vmsrs::store(&server.words()[0], std::uint64_t{666});
        fault(server.wild());
      },
      nullptr, nullptr, label);
}

vmsrs_containment_status status() {
  vmsrs_containment_status now{};
  BOOST_REQUIRE_EQUAL(vmsrs_get_containment(&now), 0);
  return now;
}

vmsrs_internal_range internal_range(const char* name) {
  vmsrs_internal_range ranges[24];
  const std::size_t count = vmsrs_internal_ranges(ranges, 24);
  for (std::size_t i = 0; i < count; ++i)
    if (std::strcmp(ranges[i].name, name) == 0) return ranges[i];
  BOOST_FAIL("there is no range " << name);
  return {};
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(containment)

BOOST_FIXTURE_TEST_CASE(modes, Limited) {
  BOOST_CHECK_EQUAL(status().mode, static_cast<std::uint32_t>(VMSRS_CONTAINMENT_ON));
  BOOST_CHECK_EQUAL(crash(*this), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(vmsrs_set_containment(static_cast<vmsrs_containment_mode>(3)),
                    VMSRS_ERROR_ARGUMENT);
  const auto in_mode = [&](vmsrs_containment_mode mode) {
    return told_by_child([&] {
      if (vmsrs_set_containment(mode) != 0) _exit(1);
      crash(*this);
    });
  };
  const auto observed = in_mode(VMSRS_CONTAINMENT_OBSERVE);
  BOOST_CHECK_EQUAL(signal_of(observed.status), SIGSEGV);
  BOOST_CHECK_MESSAGE(contains(observed.text, "observing: SIGSEGV of a user at library_test+0x") ||
                          contains(observed.text, "observing: SIGSEGV of a user at hosted_lib"),
                      observed.text);
  const auto off = in_mode(VMSRS_CONTAINMENT_OFF);
  BOOST_CHECK_EQUAL(signal_of(off.status), SIGSEGV);
  BOOST_CHECK_EQUAL(off.text, "");
  // And on again.
  BOOST_CHECK_EQUAL(WEXITSTATUS(in_mode(VMSRS_CONTAINMENT_ON).status), 0);
  BOOST_CHECK_EQUAL(vmsrs_set_containment(VMSRS_CONTAINMENT_OFF), 0);
  BOOST_CHECK_EQUAL(vmsrs_set_containment(VMSRS_CONTAINMENT_ON), 0);
  BOOST_CHECK_EQUAL(crash(*this), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(status().crash_count, 2u);
  BOOST_CHECK(is_pristine());
}

// Of the operator, for all processes of the server, in effect at the next fault.
BOOST_FIXTURE_TEST_CASE(the_operators_word_counts, Limited) {
  for (const bool observes : {true, false}) {
    contain_as_operator(observes ? VMSRS_SERVER_OBSERVE : VMSRS_SERVER_OFF);
    BOOST_CHECK_EQUAL(status().mode, observes ? std::uint32_t{VMSRS_CONTAINMENT_OBSERVE}
                                              : std::uint32_t{VMSRS_CONTAINMENT_OFF});
    const auto told = told_by_child([&] {
      if (vmsrs_set_containment(VMSRS_CONTAINMENT_ON) == 0) crash(*this);
    });
    BOOST_CHECK_EQUAL(signal_of(told.status), SIGSEGV);
    BOOST_CHECK_EQUAL(contains(told.text, "observing: SIGSEGV of a user at "), observes);
  }
  contain_as_operator(VMSRS_SERVER_OWN);
  BOOST_CHECK_EQUAL(crash(*this), VMSRS_SUPPRESSED);
}

BOOST_FIXTURE_TEST_CASE(the_operator_contains_what_the_process_would_not, Limited) {
  BOOST_CHECK_EQUAL(vmsrs_set_containment(VMSRS_CONTAINMENT_OFF), 0);
  contain_as_operator(VMSRS_SERVER_CONTAIN);
  BOOST_CHECK_EQUAL(status().mode, std::uint32_t{VMSRS_CONTAINMENT_ON});
  BOOST_CHECK_EQUAL(server_info().containment, std::uint32_t{VMSRS_SERVER_CONTAIN});
  BOOST_CHECK_EQUAL(crash(*this), VMSRS_SUPPRESSED);
  contain_as_operator(VMSRS_SERVER_OWN);
  BOOST_CHECK_EQUAL(status().mode, std::uint32_t{VMSRS_CONTAINMENT_OFF});
  BOOST_CHECK(is_pristine());
}

// The program's own handler asks what was seen; a thread without a user is not counted.
BOOST_FIXTURE_TEST_CASE(observed_faults_are_counted, Limited) {
  const auto counted = [&](bool with_user) {
    return status_of_child([&] {
      struct sigaction action {};
      action.sa_handler = [](int) {
        vmsrs_containment_status now{};
        vmsrs_get_containment(&now);
        _exit(10 + static_cast<int>(now.observed_count) + static_cast<int>(now.crash_count));
      };
      vmsrs_sigaction(SIGSEGV, &action, nullptr);
      vmsrs_set_containment(VMSRS_CONTAINMENT_OBSERVE);
      if (with_user) crash(*this);
      fault(wild());
    });
  };
  BOOST_CHECK_EQUAL(WEXITSTATUS(counted(true)), 11);
  BOOST_CHECK_EQUAL(WEXITSTATUS(counted(false)), 10);
}

// A user that has crashed is contained to its end, also when its thread does not know of that any
// more: `damages` is called after the crash.
template <typename Damages>
void switch_off_while_suppressed(AttachedServer& server, vmsrs_containment_mode mode,
                                 Damages damages) {
  std::atomic<int> step{0};
  std::thread other([&] {
    while (step != 1) usleep(1000);
    BOOST_CHECK_EQUAL(vmsrs_set_containment(mode), 0);
    step = 2;
  });
  int set_by_itself = 0;
  BOOST_CHECK_EQUAL(run([&] {
                      fault(server.wild());
                      set_by_itself = vmsrs_set_containment(mode);
                      damages();
                      step = 1;
                      while (step != 2) usleep(1000);
                      fault(server.wild());
                    }),
                    VMSRS_SUPPRESSED);
  other.join();
  BOOST_CHECK_EQUAL(set_by_itself, VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(status().mode, static_cast<std::uint32_t>(mode));
  BOOST_CHECK_EQUAL(status().observed_count, 0u);
  vmsrs_set_containment(VMSRS_CONTAINMENT_ON);
}

BOOST_FIXTURE_TEST_CASE(switched_off_while_a_user_is_suppressed, Limited) {
  switch_off_while_suppressed(*this, VMSRS_CONTAINMENT_OFF, [] {});
}

BOOST_FIXTURE_TEST_CASE(switched_off_while_a_damaged_user_is_suppressed, Limited) {
  for (const vmsrs_containment_mode mode : {VMSRS_CONTAINMENT_OFF, VMSRS_CONTAINMENT_OBSERVE})
    switch_off_while_suppressed(*this, mode, [] {
      const vmsrs_internal_range context = internal_range("thread context");
      std::memset(context.address, 0xa5, context.bytes);
    });
}

BOOST_FIXTURE_TEST_CASE(sites_are_known_by_module_and_offset, Limited) {
  for (int again = 0; again < 3; ++again) BOOST_CHECK_EQUAL(crash(*this), VMSRS_SUPPRESSED);
  run([&] { std::abort(); });
  vmsrs_crash_site sites[24];
  BOOST_REQUIRE_EQUAL(vmsrs_crash_sites(sites, 24), 2u);
  BOOST_CHECK_EQUAL(sites[0].crashes, 3u);
  BOOST_CHECK_EQUAL(sites[0].crashes_in_window, 3u);
  BOOST_CHECK_EQUAL(sites[0].fault, static_cast<std::uint32_t>(VMSRS_FAULT_WILD));
  BOOST_CHECK_EQUAL(std::string(sites[0].module), program_invocation_short_name);
  const auto at = reinterpret_cast<std::uint64_t>(&fault);
  BOOST_CHECK(sites[0].instruction >= at && sites[0].instruction < at + 64);
  BOOST_CHECK_LT(sites[0].offset, sites[0].instruction);
  BOOST_CHECK_EQUAL(std::string(sites[1].module), "libc.so.6");
  BOOST_CHECK_EQUAL(sites[1].fault, static_cast<std::uint32_t>(VMSRS_FAULT_ABORT));
  BOOST_CHECK_EQUAL(vmsrs_crash_sites(nullptr, 0), 2u);
}

BOOST_FIXTURE_TEST_CASE(past_the_limit_of_a_site_the_process_ends, Limited) {
  const auto crashes = [&](std::uint32_t count) {
    return told_by_child([&] {
      for (std::uint32_t i = 0; i < count; ++i)
        if (crash(*this, i) != VMSRS_SUPPRESSED) _exit(2);
    });
  };
  const auto within = crashes(kSiteLimit);
  BOOST_CHECK_EQUAL(within.status, 0);
  BOOST_CHECK_EQUAL(within.text, "");
  const auto past = crashes(kSiteLimit + 1);
  BOOST_CHECK_EQUAL(signal_of(past.status), SIGABRT);
  BOOST_CHECK_MESSAGE(
      contains(past.text, "6 users have crashed within the window, all at one site"), past.text);
}

BOOST_FIXTURE_TEST_CASE(past_the_limit_of_the_server_it_ends, Limited) {
  const auto crashes = [&](bool one_more) {
    return told_by_child([&] {
      const auto four_times = [&](void (*fault_here)(std::uint64_t*)) {
        for (int i = 0; i < 4; ++i)
          if (run([&] { fault_here(wild()); }) != VMSRS_SUPPRESSED) _exit(2);
      };
      four_times(fault_at<1>);
      four_times(fault_at<2>);
      four_times(fault_at<3>);
      // What the program itself finds counts like a fault.
      if (one_more) run([] { crash_suppression_os(VMSRS_FAULT_CHECK, nullptr); });
    });
  };
  BOOST_CHECK_EQUAL(crashes(false).status, 0);
  const auto past = crashes(true);
  BOOST_CHECK_EQUAL(signal_of(past.status), SIGABRT);
  BOOST_CHECK_MESSAGE(contains(past.text, "13 users have crashed within the window, all of this"),
                      past.text);
}

// The server goes on without users of that label, until the window is over.
BOOST_FIXTURE_TEST_CASE(past_the_limit_a_label_is_refused, Refusing) {
  for (std::uint32_t i = 0; i <= kSiteLimit; ++i)
    BOOST_REQUIRE_EQUAL(crash(*this, 66), VMSRS_SUPPRESSED);
  const auto finishes = [&](std::uint64_t label) {
    return run([&] { vmsrs::store(&words()[5], std::uint64_t{6}); }, nullptr, nullptr, label);
  };
  BOOST_CHECK_EQUAL(finishes(66), VMSRS_ERROR_REFUSED);
  BOOST_CHECK_EQUAL(vmsrs_user_begin(66), VMSRS_ERROR_REFUSED);
  BOOST_CHECK_EQUAL(finishes(67), VMSRS_FINISHED);
  BOOST_CHECK_EQUAL(status().refused_count, 2u);
  usleep(1'100'000);
  BOOST_CHECK_EQUAL(finishes(66), VMSRS_FINISHED);
  // The window is another one.
  BOOST_CHECK_EQUAL(crash(*this, 66), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(finishes(66), VMSRS_FINISHED);
}

// A callback that does not return takes the count with it to the end point.
BOOST_FIXTURE_TEST_CASE(a_crash_whose_callback_gives_up_is_counted, Limited) {
  const int outcome = run([&] { fault(wild()); }, [](void*) { std::abort(); });
  BOOST_CHECK_EQUAL(outcome, VMSRS_UNWOUND);
  BOOST_CHECK_EQUAL(status().crash_count, 1u);
  BOOST_CHECK_EQUAL(run([&] { fault(wild()); }), VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(status().crash_count, 2u);
}

// A user that writes over the counters faults there, and they stand.
BOOST_FIXTURE_TEST_CASE(the_counters_are_out_of_reach, Limited) {
  crash(*this);
  const vmsrs_containment_status before = status();
  BOOST_CHECK_EQUAL(run([&] {
                      const vmsrs_internal_range page = internal_range("page of the containment");
                      std::memset(page.address, 0, page.bytes);
                    }),
                    VMSRS_SUPPRESSED);
  BOOST_CHECK_EQUAL(status().crash_count, before.crash_count + 1);
}

// Not even while others are counted.
BOOST_FIXTURE_TEST_CASE(the_counters_are_out_of_reach_at_every_moment, Unlimited) {
  constexpr std::uint32_t kCrashes = 500;
  const vmsrs_internal_range page = internal_range("page of the containment");
  auto* const bytes = static_cast<volatile std::uint8_t*>(page.address);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> tries{0}, damaged{0};
  std::thread scribbler([&] {
    BOOST_CHECK_EQUAL(run([&] {
                        for (std::size_t at = 0; !stop; at = (at + 1) % page.bytes, ++tries) {
                          const auto other = static_cast<std::uint8_t>(bytes[at] ^ 0x80);
                          bytes[at] = other;
                          damaged += bytes[at] == other;
                        }
                      }),
                      VMSRS_SUPPRESSED);
  });
  while (tries < 10) usleep(1000);
  for (std::uint32_t i = 0; i < kCrashes; ++i) BOOST_REQUIRE_EQUAL(crash(*this), VMSRS_SUPPRESSED);
  stop = true;
  scribbler.join();
  BOOST_CHECK_EQUAL(status().mode, std::uint32_t{VMSRS_CONTAINMENT_ON});
  BOOST_CHECK_EQUAL(status().crash_count, kCrashes + 1);
  BOOST_CHECK_EQUAL(damaged, 0u);
  BOOST_TEST_MESSAGE(tries << " stores to the page");
}

// Where there is no memory for the page's next content.
BOOST_FIXTURE_TEST_CASE(crashes_are_counted_without_memory, Limited) {
  BOOST_CHECK_EQUAL(status_of_child([&] {
                      const rlimit none = {0, 0};
                      setrlimit(RLIMIT_AS, &none);
                      crash(*this);
                      _exit(status().crash_count == 1 ? 0 : 1);
                    }),
                    0);
}

BOOST_AUTO_TEST_SUITE_END()
