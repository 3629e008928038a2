// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "probe.hpp"
#include "support/claim_server.hpp"

// Real threads in a region with claims, with crashes; made for ThreadSanitizer as well. Boost's
// checks are not thread-safe: threads count what went wrong.
using namespace vmsrs;
using namespace vmsrs::test;
using guest::Access;

namespace {

constexpr unsigned kThreads = 4;
constexpr unsigned kWords =
    64;  // of each thread; word i of thread t lies beside word i of the others
constexpr unsigned kRounds = 400;
constexpr unsigned kVictims = 2;  // of the threads, where some are declared crashed
constexpr unsigned kDeclared = 300;
constexpr unsigned kAbandoned = 3;  // users held in a store for too long
constexpr unsigned kRefused = 200;  // stores to granules of users that are stuck

struct Tally {
  std::atomic<std::uint64_t> wrong{0}, unexpected{0}, crashed{0}, finished{0}, drains{0};
  std::atomic<std::uint64_t> without_call{0}, with_call{0};  // of readers of committed values
  std::atomic<std::uint64_t> declared{0}, waits{0}, refused{0};
};

// In a value that is never committed: it is stored over before its user's end, or the user crashes.
constexpr std::uint64_t kDraft = 1ull << 31;

std::size_t place(unsigned thread, std::size_t word) { return 8 * (word * kThreads + thread); }

// One thread's users. What its last finished user wrote is there, whatever the others do to the
// granules that it shares with them.
void work(ClaimServer& server, unsigned number, std::latch& start, Tally& tally) {
  start.arrive_and_wait();
  ClaimThread me(server, 0x10000 + 0x1000 * std::uint64_t{number});
  std::mt19937 random(number);
  std::uint64_t committed[kWords] = {};
  if (me.begin() != VMSRS_OK) ++tally.unexpected;
  for (unsigned round = 0; round < kRounds; ++round) {
    std::uint64_t now[kWords];
    std::memcpy(now, committed, sizeof now);
    const bool doomed = random() % 6 == 0;
    for (unsigned i = 0; i < 12; ++i) {
      const std::size_t word = random() % kWords;
      now[word] = std::uint64_t{random()} << 32 | (doomed ? kDraft : 0) | round;
      for (const std::uint64_t value : {now[word] | kDraft, now[word]})
        if (me.store_word(0, place(number, word), value) != Access::kDone) ++tally.unexpected;
      std::this_thread::yield();  // within its scope, so that users meet on few processors too
      const std::size_t other = random() % kWords;
      if (me.load_word(0, place(number, other)) != now[other]) ++tally.wrong;
    }
    if (doomed) {
      if (me.crash() != VMSRS_OK) ++tally.unexpected;
      for (unsigned i = 0; i < 4; ++i) std::this_thread::yield();  // others find what it left
      if (me.store_word(0, place(number, 0), 1) != Access::kCrashed) ++tally.unexpected;
      if (me.end() != VMSRS_CRASHED || me.collect() != VMSRS_OK) ++tally.unexpected;
      if (me.begin() != VMSRS_OK) ++tally.unexpected;
      ++tally.crashed;
    } else {
      if (me.end(true) != VMSRS_OK) ++tally.unexpected;
      std::memcpy(committed, now, sizeof committed);
      ++tally.finished;
    }
    for (std::size_t word = 0; word < kWords; word += 7)
      if (me.load_word(0, place(number, word)) != committed[word]) ++tally.wrong;
  }
  if (me.end() != VMSRS_OK) ++tally.unexpected;
  tally.drains += me.drains;
  tally.waits += me.waits;
}

// A reader without a user: what it sees of a word was truly written there.
void read(ClaimServer& server, std::latch& start, const std::atomic<bool>& stop, Tally& tally) {
  start.arrive_and_wait();
  ClaimThread me(server, 0x90000);
  std::mt19937 random(99);
  for (; !stop; std::this_thread::yield()) {
    const std::uint64_t value = me.load_word(0, place(random() % kThreads, random() % kWords));
    if (value != 0 && static_cast<std::uint32_t>(value & ~kDraft) >= kRounds) ++tally.wrong;
  }
}

// A reader of committed values: of a word it sees no draft, and its rounds in their order.
void read_committed(ClaimServer& server, std::latch& start, const std::atomic<bool>& stop,
                    Tally& tally) {
  start.arrive_and_wait();
  ClaimThread me(server, 0x91000);
  std::mt19937 random(98);
  std::uint32_t seen[kThreads][kWords] = {};
  for (; !stop; std::this_thread::yield()) {
    const unsigned thread = random() % kThreads;
    const std::size_t word = random() % kWords;
    const std::uint64_t calls = me.traps;
    std::uint64_t value = 0;
    if (me.load_committed(0, place(thread, word), &value, 8) != Access::kDone) ++tally.unexpected;
    const auto round = static_cast<std::uint32_t>(value);
    if (round >= kRounds || round < seen[thread][word]) ++tally.wrong;
    seen[thread][word] = round;
    ++(me.traps == calls ? tally.without_call : tally.with_call);
  }
}

void clear(ClaimServer& server) {
  ClaimThread first(server, 0x80000);
  BOOST_TEST(first.begin() == VMSRS_OK);
  const std::vector<std::uint64_t> zeroes(kThreads * kWords);
  BOOST_TEST((first.store(0, 0, zeroes.data(), 8 * zeroes.size()) == Access::kDone));
  BOOST_TEST(first.end() == VMSRS_OK);
}

// All threads are gone.
void check_end(ClaimServer& server, const Tally& tally) {
  BOOST_TEST(tally.wrong == 0u);
  BOOST_TEST(tally.unexpected == 0u);
  BOOST_TEST(tally.crashed > 0u);
  BOOST_TEST(tally.finished > 0u);
  BOOST_TEST(tally.drains > 0u);
  const vmsrs_server_info info = server.info();
  BOOST_TEST((info.mode & VMSRS_MODE_SUPPRESSION) == 0u);
  BOOST_TEST(info.record_count == 0u);
  BOOST_TEST(info.demand_restore_count > 0u);
  BOOST_TEST(std::memcmp(server.region(0), recovery::EngineProbe::ledger(0).regions[0].mirror,
                         8 * kThreads * kWords) == 0);
  BOOST_TEST(server.sound());
}

}  // namespace

BOOST_AUTO_TEST_CASE(threads_share_granules_crash_and_finish) {
  ClaimServer server({{8 * kThreads * kWords, 64}});
  clear(server);

  Tally tally;
  std::atomic<bool> stop{false};
  std::latch start(kThreads + 2);
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < kThreads; ++i)
    workers.emplace_back([&, i] { work(server, i, start, tally); });
  std::thread reader([&] { read(server, start, stop, tally); });
  std::thread careful_reader([&] { read_committed(server, start, stop, tally); });
  for (std::thread& worker : workers) worker.join();
  stop = true;
  reader.join();
  careful_reader.join();

  BOOST_TEST_MESSAGE(tally.finished << " finished, " << tally.crashed << " crashed, "
                                    << tally.drains << " drains, " << tally.without_call << " and "
                                    << tally.with_call
                                    << " committed loads without and with a call");
  BOOST_TEST(tally.without_call > 0u);
  BOOST_TEST(tally.with_call > 0u);
  check_end(server, tally);
}

namespace {

// What a victim's users write everywhere, and by what others name them.
std::uint64_t number_of(ClaimServer& server, const ClaimThread& thread) {
  return server.generation(thread.slot) << 10 | thread.slot;
}

// Stores without a pause until it is declared crashed; now and then it finishes instead.
void be_declared(ClaimServer& server, unsigned number, std::atomic<std::uint64_t>& published,
                 const std::atomic<bool>& stop, Tally& tally) {
  ClaimThread me(server, 0x10000 + 0x1000 * std::uint64_t{number});
  std::mt19937 random(number);
  std::uint64_t committed[kWords] = {};
  if (me.begin() != VMSRS_OK) ++tally.unexpected;
  while (!stop) {
    const std::uint64_t mine = number_of(server, me);
    std::uint64_t now[kWords];
    std::memcpy(now, committed, sizeof now);
    published = mine;
    Access outcome = Access::kDone;
    const bool finishes = random() % 4 == 0;
    for (unsigned i = 0; outcome == Access::kDone && !stop && (i < 30 || !finishes); ++i) {
      const std::size_t word = random() % kWords;
      now[word] = mine;
      outcome = me.store_word(0, place(number, word), mine);
    }
    if (outcome == Access::kRefused) ++tally.unexpected;
    if (me.end(true) == VMSRS_OK) {
      if (outcome != Access::kDone) ++tally.unexpected;
      std::memcpy(committed, now, sizeof committed);
      ++tally.finished;
    } else {
      if (me.collect() != VMSRS_OK || me.begin() != VMSRS_OK) ++tally.unexpected;
      ++tally.crashed;
    }
    for (std::size_t word = 0; word < kWords; word += 5) {
      std::uint64_t value = 0;
      if (me.load(0, place(number, word), &value, sizeof value) == Access::kDone &&
          value != committed[word])
        ++tally.wrong;
    }
  }
  if (me.end() != VMSRS_OK && me.collect() != VMSRS_OK) ++tally.unexpected;
}

// Declares victims crashed. From then on nobody reads what they wrote.
void declare(ClaimServer& server, const std::atomic<std::uint64_t> (&published)[kVictims],
             const std::atomic<bool>& stop, Tally& tally) {
  ClaimThread me(server, 0xa0000);
  for (unsigned victim = 0; !stop; victim = (victim + 1) % kVictims) {
    const std::uint64_t number = published[victim];
    const std::uint64_t slot = number & (VMSRS_MAX_USERS - 1);
    const guest::CallResult declared = me.declare(slot, number >> 10);
    if (declared.status == VMSRS_NOT_FOUND) continue;  // it has ended
    if (declared.status != VMSRS_OK) ++tally.unexpected;
    const auto look = [&] {
      for (std::size_t word = 0; word < kWords; ++word)
        if (me.load_word(0, place(victim, word)) == number) ++tally.wrong;
    };
    look();
    me.drain(slot);
    (void)me.report_drained(slot, declared.first);
    look();
    ++tally.declared;
  }
}

}  // namespace

// Users that store all the time are declared crashed by another thread, again and again, while
// others store to the same granules.
BOOST_AUTO_TEST_CASE(threads_are_declared_crashed_in_the_middle_of_their_stores) {
  ClaimServer server({{8 * kThreads * kWords, 64}});
  clear(server);
  Tally tally;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> published[kVictims] = {~0ull, ~0ull};
  std::latch start(kThreads - kVictims);
  std::vector<std::thread> victims, workers;
  for (unsigned i = 0; i < kVictims; ++i)
    victims.emplace_back([&, i] { be_declared(server, i, published[i], stop, tally); });
  for (unsigned i = kVictims; i < kThreads; ++i)
    workers.emplace_back([&, i] { work(server, i, start, tally); });
  std::thread watchdog([&] { declare(server, published, stop, tally); });
  for (std::thread& worker : workers) worker.join();
  while (tally.declared < kDeclared) std::this_thread::yield();
  stop = true;
  watchdog.join();
  for (std::thread& victim : victims) victim.join();

  BOOST_TEST_MESSAGE(tally.finished << " finished, " << tally.crashed << " crashed, "
                                    << tally.declared << " declared, " << tally.drains
                                    << " drains, " << tally.waits << " waits");
  BOOST_TEST(tally.waits > 0u);
  check_end(server, tally);
}

namespace {

// Again and again its user is held in the middle of a store until it counts as stuck.
void get_stuck(ClaimServer& server, unsigned number, const std::atomic<bool>& stop, Tally& tally) {
  ClaimThread me(server, 0x10000 + 0x1000 * std::uint64_t{number});
  std::mt19937 random(number);
  if (me.begin() != VMSRS_OK) ++tally.unexpected;
  while (!stop) {
    const std::uint64_t mine = number_of(server, me);
    Access outcome = Access::kDone;
    const auto state = [&] {
      return __atomic_load_n(&server.window().users[me.slot], __ATOMIC_ACQUIRE) & 3;
    };
    for (unsigned i = 0; i < 20 && outcome == Access::kDone; ++i)
      outcome = me.store_word(0, place(number, random() % kWords), mine);
    // By somebody who wants to store there, and has been waiting.
    if (outcome == Access::kDone)
      me.store_held(0, place(number, random() % kWords), mine, [&] {
        while (state() == VMSRS_USER_ACTIVE && !stop) std::this_thread::yield();
        for (std::uint64_t i = random() % 200; i > 0; --i) std::this_thread::yield();
      });
    if (outcome == Access::kRefused) {
      if (me.status != VMSRS_OWNER_STUCK || me.crash() != VMSRS_OK) ++tally.unexpected;
    }
    if (me.end(true) == VMSRS_OK) {
      ++tally.finished;
    } else {
      if (me.collect() != VMSRS_OK || me.begin() != VMSRS_OK) ++tally.unexpected;
      ++tally.crashed;
    }
  }
  if (me.end() != VMSRS_OK && me.collect() != VMSRS_OK) ++tally.unexpected;
}

// Stores beside them, and never hangs: it is refused, and crashes, or what it stored counts.
void work_beside_stuck_users(ClaimServer& server, unsigned number, const std::atomic<bool>& stop,
                             Tally& tally) {
  ClaimThread me(server, 0x10000 + 0x1000 * std::uint64_t{number});
  std::mt19937 random(number);
  std::uint64_t committed[kWords] = {};
  if (me.begin() != VMSRS_OK) ++tally.unexpected;
  for (std::uint64_t round = 1; !stop; ++round) {
    std::uint64_t now[kWords];
    std::memcpy(now, committed, sizeof now);
    Access outcome = Access::kDone;
    for (unsigned i = 0; i < 6 && outcome == Access::kDone; ++i) {
      const std::size_t word = random() % kWords;
      outcome = me.store_word(0, place(number, word), round << 32);
      if (outcome == Access::kDone)
        now[word] = round << 32;
      else if (me.status != VMSRS_OWNER_STUCK)
        ++tally.unexpected;
      std::this_thread::yield();
      const std::size_t other = random() % kWords;
      if (me.load_word(0, place(number, other)) != now[other]) ++tally.wrong;
    }
    if (outcome == Access::kDone) {
      if (me.end(true) != VMSRS_OK) ++tally.unexpected;
      std::memcpy(committed, now, sizeof committed);
      ++tally.finished;
      continue;
    }
    if (outcome != Access::kRefused) ++tally.unexpected;
    ++tally.refused;
    // Nobody reads what users have written that are stuck by now.
    for (unsigned victim = 0; victim < kVictims; ++victim)
      for (std::uint64_t slot = 0; slot < 8; ++slot) {
        const std::uint64_t user = __atomic_load_n(&server.window().users[slot], __ATOMIC_ACQUIRE);
        if ((user & 3) != VMSRS_USER_STUCK) continue;
        for (std::size_t word = 0; word < kWords; word += 3)
          if (me.load_word(0, place(victim, word)) == ((user >> 2) << 10 | slot)) ++tally.wrong;
      }
    if (me.crash() != VMSRS_OK || me.end() != VMSRS_CRASHED || me.collect() != VMSRS_OK ||
        me.begin() != VMSRS_OK)
      ++tally.unexpected;
    ++tally.crashed;
  }
  if (me.end() != VMSRS_OK) ++tally.unexpected;
  tally.drains += me.drains;
}

}  // namespace

// Users are held in the middle of their stores for longer than anybody has patience.
BOOST_AUTO_TEST_CASE(threads_are_stuck_in_the_middle_of_their_stores) {
  ClaimServer server({{8 * kThreads * kWords, 64}});
  clear(server);
  server.patience = 20;
  Tally tally;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kVictims; ++i)
    threads.emplace_back([&, i] { get_stuck(server, i, stop, tally); });
  for (unsigned i = kVictims; i < kThreads; ++i)
    threads.emplace_back([&, i] { work_beside_stuck_users(server, i, stop, tally); });
  while (tally.refused < kRefused || server.info().faults[VMSRS_FAULT_CHECK] < kAbandoned)
    std::this_thread::yield();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST_MESSAGE(tally.finished << " finished, " << tally.crashed << " crashed, "
                                    << tally.refused << " refused, " << tally.drains << " drains");
  BOOST_TEST(server.info().stuck_users == 0u);
  check_end(server, tally);
}
