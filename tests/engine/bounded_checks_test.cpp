// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "fixture.hpp"

// A check goes on in pieces: none looks at much, and what users do between two of them confuses no
// count.
using namespace vmsrs::test;
using vmsrs::recovery::EngineProbe;

namespace {

constexpr std::size_t kGranule = 8;

// A server with room for many users and records.
struct LargeServer {
  Machine machine;
  Client manager{kManagerSpace, 0x9000, 0};
  Client service{kServerSpace, 0xd000};
  std::uint64_t token = 0;
  std::vector<std::uint64_t> memory;

  LargeServer(std::size_t storage_bytes, std::size_t words) : machine(storage_bytes) {
    memory.resize(words + 64 / sizeof(std::uint64_t));
    token = manager.open().rdx;
    (void)manager.define(token, "shop", secret_of(1));
    (void)service.attach("shop", secret_of(1), kServerProcess);
    BOOST_REQUIRE(service.profile(region(), words * sizeof(std::uint64_t), kGranule).status ==
                  VMSRS_OK);
  }
  std::uint64_t* region() {  // aligned to granules of any size
    void* start = memory.data();
    std::size_t space = memory.size() * sizeof(std::uint64_t);
    return static_cast<std::uint64_t*>(std::align(64, 64, start, space));
  }
  vmsrs_status store(Client& user, std::size_t word, std::uint64_t value) {
    return user.call(VMSRS_CALL_STORE, address_of(region() + word), value, 8).status;
  }
  void serve() {
    while (service.call(VMSRS_CALL_SERVICE).status == VMSRS_AGAIN) {
    }
  }
  // The next piece of a check; the report is the whole check's so far.
  vmsrs_status piece(bool anew, vmsrs_check_report& report) {
    return manager
        .call(VMSRS_CALL_MGMT_CHECK, token, anew ? 1 : 0, address_of(&report), sizeof report)
        .status;
  }
  vmsrs_check_report check() {
    vmsrs_check_report report{};
    manager.check(token, report, [this] { serve(); });
    return report;
  }
};

bool waits_for_threads_only(const vmsrs_check_report& report) {
  return report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING;
}

std::uint64_t violations(const vmsrs_check_report& report) {
  std::uint64_t sum = 0;
  for (const vmsrs_check_result& result : report.results) sum += result.violation_count;
  return sum;
}

// Things looked at in the engine's own memory.
std::uint64_t examined(const vmsrs_check_report& report) {
  std::uint64_t sum = 0;
  for (int i = VMSRS_CHECK_STORAGE; i < VMSRS_CHECK_COUNT; ++i)
    if (i != VMSRS_CHECK_MIRROR) sum += report.results[i].examined_count;
  return sum;
}

}  // namespace

BOOST_AUTO_TEST_CASE(no_piece_looks_at_much) {
  constexpr std::size_t kWords = std::size_t{1} << 21;
  constexpr std::size_t kRecords = 200'000;
  constexpr std::uint64_t kMostOfPiece = 4096 + 1024;  // pages or heads, and what lies beside them
  LargeServer server(std::size_t{96} << 20, kWords);
  std::deque<Client> users;
  for (std::uint64_t i = 0; i < VMSRS_MAX_USERS; ++i) {
    users.emplace_back(kServerSpace, 0x10000 + 0x10 * i);
    BOOST_REQUIRE(users.back().call(VMSRS_CALL_USER_BEGIN).status == VMSRS_OK);
  }
  for (std::size_t i = 0; i < kRecords; ++i)
    BOOST_REQUIRE(server.store(users[i % users.size()], i * 10, i) == VMSRS_OK);

  vmsrs_check_report report{};
  std::uint64_t before = 0, most = 0, pieces = 0;
  std::chrono::nanoseconds longest{0}, whole{0};
  do {
    const auto begin = std::chrono::steady_clock::now();
    const vmsrs_status status = server.piece(pieces == 0, report);
    const auto taken = std::chrono::steady_clock::now() - begin;
    BOOST_REQUIRE((status == VMSRS_AGAIN || status == VMSRS_OK));
    longest = std::max<std::chrono::nanoseconds>(longest, taken);
    whole += taken;
    most = std::max(most, examined(report) - before);
    before = examined(report);
    ++pieces;
  } while (!waits_for_threads_only(report));
  BOOST_TEST_MESSAGE("a check of " << kRecords << " records, " << users.size() << " users, "
                                   << kWords << " heads: " << pieces << " pieces, "
                                   << whole.count() / 1000 << " us; the longest "
                                   << longest.count() / 1000 << " us, " << most << " things");
  BOOST_TEST(violations(report) == 0u);
  BOOST_TEST(most <= kMostOfPiece);
  const auto looked_at = [&](vmsrs_invariant which) {
    return report.results[which].examined_count;
  };
  BOOST_TEST(looked_at(VMSRS_CHECK_STORAGE) > kRecords);
  constexpr std::uint64_t kHeadPages =
      (kRecords - 1) * 10 / vmsrs::recovery::Heads::kHeadsPerPage + 1;
  BOOST_TEST(looked_at(VMSRS_CHECK_CHAINS) ==
             kRecords + kHeadPages * vmsrs::recovery::Heads::kHeadsPerPage);
  BOOST_TEST(looked_at(VMSRS_CHECK_USERS) == kRecords + VMSRS_MAX_USERS);
  BOOST_TEST(looked_at(VMSRS_CHECK_COLLECTED) == kRecords + VMSRS_MAX_USERS);
  BOOST_TEST(looked_at(VMSRS_CHECK_WINDOWS) > 2 * VMSRS_MAX_USERS);
}

// ---- while users work

namespace {

constexpr std::size_t kUsersOfThread = 100;
constexpr std::size_t kSharedWords = 32'768;

struct Tally {
  std::atomic<std::uint64_t> wrong{0}, moves{0}, crashed{0}, finished{0};
};

// One of many users of a thread does something; all of them are under way at once.
void move(LargeServer& server, Client& user, std::mt19937& random, Tally& tally) {
  const auto expect = [&tally](bool right) { tally.wrong += !right; };
  ++tally.moves;
  const std::uint64_t what = random() % 16;
  if (what == 0) {
    expect(user.crash().status == VMSRS_OK);
    OneServer<>::bury(user);
    ++tally.crashed;
  } else if (what <= 2) {
    expect(OneServer<>::end(user) == VMSRS_OK);
    ++tally.finished;
  } else {
    for (int i = 0; i < 8; ++i) {
      const std::size_t word = random() % kSharedWords;
      expect(server.store(user, random() % 8 == 0 ? word % 64 : word, random()) == VMSRS_OK);
    }
    return;
  }
  expect(OneServer<>::begin(user) == VMSRS_OK);
}

void work(LargeServer& server, std::uint64_t number, const std::atomic<bool>& stop, Tally& tally) {
  std::mt19937 random(static_cast<unsigned>(number));
  std::deque<Client> users;
  for (std::uint64_t i = 0; i < kUsersOfThread; ++i) {
    users.emplace_back(kServerSpace, 0x1000 * (number + 16 * (i + 1)));
    tally.wrong += OneServer<>::begin(users.back()) != VMSRS_OK;
  }
  while (!stop) move(server, users[random() % kUsersOfThread], random, tally);
  for (Client& user : users) tally.wrong += OneServer<>::end(user) != VMSRS_OK;
}

}  // namespace

BOOST_AUTO_TEST_CASE(checks_of_a_busy_engine_see_nothing_wrong) {
  constexpr unsigned kThreads = 2;
  constexpr unsigned kChecks = 40;
  LargeServer server(std::size_t{16} << 20, kSharedWords);
  Tally tally;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] { work(server, i, stop, tally); });

  std::uint64_t wrong = 0, disturbed = 0, records = 0, contended = 0;
  for (unsigned i = 0; i < kChecks; ++i) {
    vmsrs_check_report report{};
    std::uint64_t pieces = 0, moved = 0;
    do {
      const std::uint64_t moves = tally.moves;
      (void)server.piece(pieces++ == 0, report);
      std::this_thread::yield();
      moved += tally.moves != moves;
    } while (!waits_for_threads_only(report));
    if (i % 4 == 0) server.serve();
    (void)server.piece(false, report);
    wrong += violations(report);
    disturbed += moved > pieces / 4;
    vmsrs_server_info info{};
    (void)server.manager.call(VMSRS_CALL_MGMT_SERVER, server.token, 0, address_of(&info),
                              sizeof info);
    records += info.record_count > 100;
    contended += info.contended_granules > 0;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();

  BOOST_TEST(wrong == 0u);
  BOOST_TEST(tally.wrong == 0u);
  BOOST_TEST(tally.crashed > 0u);
  BOOST_TEST(tally.finished > 0u);
  BOOST_TEST(records > 0u);
  BOOST_TEST(contended > 0u);
  BOOST_TEST(disturbed > 0u);
  BOOST_TEST(violations(server.check()) == 0u);
  ++EngineProbe::value(EngineProbe::ledger(0).record_count);
  const vmsrs_check_report report = server.check();
  BOOST_TEST(report.results[VMSRS_CHECK_ACCOUNTING].violation_count > 0u);
  BOOST_TEST(report.results[VMSRS_CHECK_STORAGE].violation_count == 0u);
}

// ---- what changes on either side of the cursor, deterministically

namespace {

struct Halfway : LargeServer {
  Halfway() : LargeServer(std::size_t{16} << 20, kSharedWords) {}
  std::deque<Client> users;

  Client& begin_user() {
    Client& user = users.emplace_back(kServerSpace, 0x10000 + 0x10 * users.size());
    BOOST_REQUIRE(OneServer<>::begin(user) == VMSRS_OK);
    return user;
  }
  // A check; `disturb` runs before the piece with that number. False: past the last one.
  bool check_with(unsigned number, const std::function<void()>& disturb) {
    vmsrs_check_report report{};
    unsigned pieces = 0;
    do {
      if (pieces == number && pieces > 0) disturb();
      (void)piece(pieces++ == 0, report);
    } while (!waits_for_threads_only(report));
    BOOST_TEST(violations(report) == 0u, "disturbed before piece " << number);
    return number < pieces;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(whatever_happens_between_two_pieces, Halfway) {
  for (std::size_t i = 0; i < 300; ++i) {  // several pieces of slots, of records, of heads
    Client& user = begin_user();
    for (std::size_t k = 0; k < 10; ++k) (void)store(user, (i * 10 + k) * 10, i);
    (void)store(user, i % 7, i);  // contended
  }
  unsigned next = 0;
  const auto disturb = [&] {
    Client& ended = users[next];
    Client& crashed = users[next + 1];
    next += 2;
    BOOST_TEST(OneServer<>::end(ended) == VMSRS_OK);
    BOOST_TEST(OneServer<>::begin(ended) == VMSRS_OK);
    BOOST_TEST(store(ended, next % 7, 1) == VMSRS_OK);
    BOOST_TEST(store(ended, kSharedWords - next, 1) == VMSRS_OK);
    BOOST_TEST(crashed.crash().status == VMSRS_OK);
    if (next % 4 == 0) OneServer<>::bury(crashed);  // others stay crashed, or are stuck
    if (next % 4 == 2) (void)crashed.call(VMSRS_CALL_USER_STUCK);
    (void)manager.call(VMSRS_CALL_MGMT_COLLECT, token, 0, ~0ull);
    if (next % 6 == 0) serve();
  };
  unsigned pieces = 1;
  while (check_with(pieces, disturb)) ++pieces;
  BOOST_TEST(pieces > 30u);
}

// Its records and users go all at once.
BOOST_FIXTURE_TEST_CASE(the_process_dies_between_two_pieces, Halfway) {
  for (unsigned number = 1;; ++number) {
    for (std::size_t i = 0; i < 200; ++i) (void)store(begin_user(), i * 100, i);
    users[3].crash();
    const bool within = check_with(number, [this] {
      (void)manager.reap(token, 0, kServerProcess);
      BOOST_REQUIRE(service.attach("shop", secret_of(1), kServerProcess).status == VMSRS_OK);
      BOOST_REQUIRE(service.profile(region(), kSharedWords * 8, kGranule).status == VMSRS_OK);
      users.clear();
      for (std::size_t i = 0; i < 20; ++i) (void)store(begin_user(), i * 100, i);
    });
    if (!within) break;
    (void)manager.reap(token, 0, kServerProcess);
    users.clear();
    BOOST_REQUIRE(service.attach("shop", secret_of(1), kServerProcess).status == VMSRS_OK);
    BOOST_REQUIRE(service.profile(region(), kSharedWords * 8, kGranule).status == VMSRS_OK);
  }
}
