// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <ucontext.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <vector>

#include "fixture.hpp"
#include "support/claim_server.hpp"

// Committed reads, where every store is a call and in regions with claims (docs/protocol.md).
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

BOOST_AUTO_TEST_SUITE(every_store_a_call)

struct Shop : OneServer<> {
  Result committed(Client& user, std::size_t at, void* to, std::size_t bytes) {
    return user.call(VMSRS_CALL_LOAD_COMMITTED, address_of(memory + at), bytes, address_of(to));
  }
  std::uint64_t committed_word(Client& user, std::size_t at) {
    std::uint64_t value = 0;
    BOOST_TEST(committed(user, at, &value, 8).status == VMSRS_OK);
    return value;
  }
  static vmsrs_status begin_reader(Client& user) {
    return user.call(VMSRS_CALL_USER_BEGIN, 7, VMSRS_USER_READER).status;
  }
};

BOOST_FIXTURE_TEST_CASE(an_unfinished_users_bytes_do_not_show, Shop) {
  const std::uint64_t before = word(8);
  begin(a);
  store(a, 8, 111);
  BOOST_TEST(load(b, 8) == 111u);
  BOOST_TEST(committed_word(b, 8) == before);
  BOOST_TEST(committed_word(a, 8) == before);
  begin(b);
  store(b, 12, 0, 4);
  end(b);  // over a part of it
  BOOST_TEST(committed_word(c, 8) == (before & 0xffffffff));
  end(a);
  BOOST_TEST(committed_word(c, 8) == 111u);
  BOOST_TEST(info().load_count == 5u);
}

BOOST_FIXTURE_TEST_CASE(a_crash_changes_nothing_for_a_reader, Shop) {
  const std::uint64_t before = word(8);
  begin(a);
  store(a, 8, 111);
  a.crash();
  BOOST_TEST(committed_word(b, 8) == before);
  BOOST_TEST(word(8) == 111u);  // nothing was restored for that
  std::uint64_t ignored = 0;
  BOOST_TEST(committed(a, 8, &ignored, 8).status == VMSRS_CRASHED);
  bury(a);
  BOOST_TEST(committed_word(b, 8) == before);
}

BOOST_FIXTURE_TEST_CASE(a_range_is_of_one_instant, Shop) {
  begin(a);
  std::vector<std::uint8_t> before(memory, memory + sizeof memory), got(sizeof memory);
  const std::vector<std::uint8_t> fives(sizeof memory, 5);
  a.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 5, sizeof memory);
  BOOST_TEST(committed(b, 0, got.data(), got.size()).rdx == got.size());
  BOOST_TEST(got == before, boost::test_tools::per_element());
  end(a);
  BOOST_TEST(committed(b, 0, got.data(), got.size()).rdx == got.size());
  BOOST_TEST(got == fives, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(a_readers_stores_are_refused, Shop) {
  const std::uint64_t before = word(8);
  BOOST_TEST(begin_reader(a) == VMSRS_OK);
  BOOST_TEST(store(a, 8, 111) == VMSRS_READ_ONLY);
  BOOST_TEST(a.call(VMSRS_CALL_FILL_RANGE, address_of(memory), 1, 8).status == VMSRS_READ_ONLY);
  BOOST_TEST(a.call(VMSRS_CALL_STORE_RANGE, address_of(memory), address_of(memory + 8), 8).status ==
             VMSRS_READ_ONLY);
  BOOST_TEST(word(8) == before);
  BOOST_TEST(info().record_count == 0u);
  // Scopes within it are part of it, whatever they say.
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin_reader(a) == VMSRS_OK);
  BOOST_TEST(store(a, 8, 111) == VMSRS_READ_ONLY);
  for (int i = 0; i < 3; ++i) BOOST_TEST(end(a) == VMSRS_OK);
  // The thread's next user is one like others, and has no reader within it.
  BOOST_TEST(begin(a) == VMSRS_OK);
  BOOST_TEST(begin_reader(a) == VMSRS_WRONG_STATE);
  BOOST_TEST(store(a, 8, 111) == VMSRS_OK);
  BOOST_TEST(end(a) == VMSRS_OK);
  BOOST_TEST(word(8) == 111u);
}

BOOST_FIXTURE_TEST_CASE(a_crashed_readers_stores_are_dropped, Shop) {
  BOOST_TEST(begin_reader(a) == VMSRS_OK);
  a.crash();
  BOOST_TEST(store(a, 8, 111) == VMSRS_CRASHED);
  bury(a);
  BOOST_TEST(sound());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(regions_with_claims)

struct Shop : ClaimServer {
  Shop() : ClaimServer({{8192, 64}, {4096, 8}}) {}
  ClaimThread a{*this, 0xa000}, b{*this, 0xb000}, reader{*this, 0xe000};

  std::uint64_t committed(std::size_t at, std::size_t number = 0) {
    std::uint64_t value = 0;
    BOOST_TEST((reader.load_committed(number, at, &value, 8) == Access::kDone));
    return value;
  }
  vmsrs_tag_kind kind(std::size_t granule) const {
    return recovery::claimant_of(claim(0, granule).tag, granule).kind;
  }
  // A call of the thread's, without what the library would do about its answer.
  vmsrs_status knock(ClaimThread& thread, std::size_t at) {
    std::uint64_t value = 0;
    return thread.client
        .call(VMSRS_CALL_STORE_RANGE, address_of(region(0) + at), address_of(&value), 8)
        .status;
  }
};

BOOST_FIXTURE_TEST_CASE(what_nobody_owns_costs_no_call, Shop) {
  BOOST_TEST(committed(64) == reader.load_word(0, 64));
  BOOST_TEST(a.begin() == VMSRS_OK);
  a.store_word(0, 64, 1);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(committed(64) == 1u);
  std::uint8_t got[300];
  BOOST_TEST((reader.load_committed(0, 33, got, sizeof got) == Access::kDone));
  BOOST_TEST(std::memcmp(got, region(0) + 33, sizeof got) == 0);
  BOOST_TEST(reader.traps == 0u);
}

BOOST_FIXTURE_TEST_CASE(what_an_unfinished_user_owns_is_asked_for, Shop) {
  const std::uint64_t before = committed(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  a.store_word(0, 0, 1);
  BOOST_TEST(kind(0) == VMSRS_TAG_OWN);
  BOOST_TEST(committed(0) == before);
  BOOST_TEST(reader.traps == 1u);
  BOOST_TEST(kind(0) == VMSRS_TAG_OWN);  // the owner notices nothing
  BOOST_TEST(knock(b, 8) == VMSRS_DRAIN);
  BOOST_TEST(kind(0) == VMSRS_TAG_FROZEN);
  BOOST_TEST(committed(0) == before);
  b.store_word(0, 8, 2);
  BOOST_TEST(kind(0) == VMSRS_TAG_CONTENDED);
  BOOST_TEST(committed(0) == before);
  BOOST_TEST(b.end() == VMSRS_OK);
  BOOST_TEST(committed(0) == before);
  BOOST_TEST(committed(8) == 2u);
  BOOST_TEST(a.end() == VMSRS_OK);
  BOOST_TEST(committed(0) == 1u);
  BOOST_TEST(reader.traps == 6u);
  BOOST_TEST(sound());
}

BOOST_FIXTURE_TEST_CASE(damaged_and_polluted_granules_are_asked_for, Shop) {
  const std::uint64_t before = committed(0);
  BOOST_TEST(a.begin() == VMSRS_OK);
  a.store_word(0, 0, 1);
  const std::uint64_t tag = claim(0, 0).tag;
  claim(0, 0).tag = 0;
  BOOST_TEST(committed(0) == before);
  claim(0, 0).tag = tag;
  BOOST_TEST(a.crash() == VMSRS_OK);
  BOOST_TEST(committed(0) == before);
  BOOST_TEST(reader.traps == 2u);
  BOOST_TEST(a.end() == VMSRS_CRASHED);
  BOOST_TEST(a.collect() == VMSRS_OK);
  BOOST_TEST(committed(0) == before);
  BOOST_TEST(reader.traps == 2u);
}

BOOST_FIXTURE_TEST_CASE(the_rest_of_a_range_comes_from_one_call, Shop) {
  std::vector<std::uint8_t> before(region(0), region(0) + 1024), got(1024);
  BOOST_TEST(a.begin() == VMSRS_OK);
  for (std::size_t at = 256; at < 1024; at += 64) a.store_word(0, at, at);
  BOOST_TEST((reader.load_committed(0, 0, got.data(), got.size()) == Access::kDone));
  BOOST_TEST(got == before, boost::test_tools::per_element());
  BOOST_TEST(reader.traps == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_reader_begun_by_a_call_is_refused_as_well, Shop) {
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_BEGIN, 7, VMSRS_USER_READER).status == VMSRS_OK);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_BEGIN, 8).rsi == 2u);
  BOOST_TEST(knock(a, 0) == VMSRS_READ_ONLY);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_END).rdx == 1u);
  BOOST_TEST(a.client.call(VMSRS_CALL_USER_END).status == VMSRS_OK);
}

// ---- between the instructions of a load

// Runs first() before the n-th instruction of a committed load and second() before the m-th; after
// the load's call to the engine has begun, no more.
struct Interleaving {
  int n = 0, m = 0, step = 0;
  std::function<void()> first, second;
  const std::uint64_t* calls = nullptr;
  std::uint64_t calls_before = 0;
  bool did_first = false, did_second = false;
};
Interleaving* interleaving = nullptr;

void on_step(int, siginfo_t*, void* context) {
  Interleaving& now = *interleaving;
  ++now.step;
  if (*now.calls != now.calls_before || now.did_second) {
    constexpr greg_t kTrapFlag = 0x100;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
    return;
  }
  if (now.step == now.n) now.first(), now.did_first = true;
  if (now.step == now.m && now.did_first) now.second(), now.did_second = true;
}

void start_stepping() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp"
      :
      :
      : "memory", "cc");
}
void stop_stepping() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), "
      "%%rsp"
      :
      :
      : "memory", "cc");
}

// A user stores a draft, then stores the word itself and is committed, or crashes: at each pair of
// instructions of the load in turn, but that of the second only each seventh is tried, and of
// builds whose loads are long fewer. `tag` is what the granule's must be before and after, so that
// the reader cannot tell by it.
struct SteppedShop : Shop {
  static constexpr std::uint64_t kDraft = 1ull << 63;
  struct sigaction former {};

  SteppedShop() {
    struct sigaction action {};
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, &former);
  }
  ~SteppedShop() { sigaction(SIGTRAP, &former, nullptr); }

  // One load, into which what is to be done is put.
  std::uint64_t load(Interleaving& now) {
    std::uint64_t value = 0;
    interleaving = &now;
    start_stepping();
    (void)reader.load_committed(0, 0, &value, 8);
    stop_stepping();
    return value;
  }

  void run(const std::function<void(std::uint64_t)>& draft,
           const std::function<void(std::uint64_t)>& finish, vmsrs_tag_kind tag) {
    constexpr int kMostTried = 300;
    Interleaving undisturbed{0, 0, 0, {}, {}, &reader.traps, reader.traps, false, false};
    (void)load(undisturbed);
    const int apart = 1 + undisturbed.step / kMostTried;
    std::uint64_t round = 0, both = 0, wrong = 0, asked = 0;
    bool longer = true;
    for (int n = 1; longer; n += apart) {
      longer = false;
      bool later = true;
      for (int m = n; later; m += 7 * apart) {
        ++round;
        BOOST_REQUIRE(kind(0) == tag);
        Interleaving now{n,
                         m,
                         0,
                         [&] { draft(round | kDraft); },
                         [&] { finish(round); },
                         &reader.traps,
                         reader.traps,
                         false,
                         false};
        const std::uint64_t value = load(now);
        wrong += (value & kDraft) != 0;
        both += now.did_second;
        asked += now.did_second && reader.traps != now.calls_before;
        longer |= now.did_first;
        later = now.did_second;
        if (now.did_first && !now.did_second) finish(round);
      }
    }
    BOOST_TEST(wrong == 0u);
    BOOST_TEST(asked > 0u);
    BOOST_TEST(both > 500u);
    BOOST_TEST_MESSAGE(both << " interleavings, " << asked << " of them asked the engine; of "
                            << undisturbed.step << " instructions each one in " << apart);
  }
};

BOOST_FIXTURE_TEST_CASE(a_commit_between_any_two_instructions, SteppedShop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  a.store_word(0, 0, 0);
  BOOST_TEST(a.end(true) == VMSRS_OK);
  run([&](std::uint64_t value) { a.store_word(0, 0, value); },
      [&](std::uint64_t value) {
        a.store_word(0, 0, value);
        a.end(true);
      },
      VMSRS_TAG_OWN);
}

// The end of a frozen granule's owner makes it nobody's: the same tag as before its claim.
BOOST_FIXTURE_TEST_CASE(a_commit_that_frees_the_granule_between_any_two_instructions, SteppedShop) {
  BOOST_TEST(a.begin() == VMSRS_OK);
  BOOST_TEST(b.begin() == VMSRS_OK);
  run([&](std::uint64_t value) { a.store_word(0, 0, value); },
      [&](std::uint64_t value) {
        a.store_word(0, 0, value);
        knock(b, 8);
        a.end(true);
      },
      VMSRS_TAG_UNOWNED);
}

BOOST_FIXTURE_TEST_CASE(a_crash_and_collection_between_any_two_instructions, SteppedShop) {
  const std::uint64_t before = committed(0);
  run(
      [&](std::uint64_t value) {
        a.begin();
        a.store_word(0, 0, value);
      },
      [&](std::uint64_t) {
        a.crash();
        a.end();
        a.collect();
      },
      VMSRS_TAG_UNOWNED);
  BOOST_TEST(committed(0) == before);
}

BOOST_AUTO_TEST_SUITE_END()
