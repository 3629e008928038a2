// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "fixture.hpp"

// Real threads against the engine, with crashes; made for ThreadSanitizer as well. Boost's checks
// are not thread-safe: threads count what went wrong.
using namespace vmsrs::test;

namespace {

constexpr unsigned kThreads = 4;
constexpr unsigned kRounds = 300;
constexpr std::size_t kOwn = 1024;  // bytes of each thread's own, then those that all share

struct Tally {
  std::atomic<unsigned> wrong{0}, crashed{0}, finished{0}, unexpected{0};
};

std::uint64_t atomic_load(const std::uint64_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

// One thread's users. In its own bytes it knows what must be there: what its last finished user
// wrote. The shared bytes are everybody's.
void work(OneServer<>& server, unsigned number, Tally& tally) {
  Client me = OneServer<>::thread(0x10000 + 0x1000 * std::uint64_t{number});
  std::mt19937 random(number);
  const std::size_t own = kOwn * number;
  std::uint64_t committed[8];
  for (std::size_t i = 0; i < 8; ++i) committed[i] = server.load(me, own + 24 * i);
  for (unsigned round = 0; round < kRounds; ++round) {
    if (OneServer<>::begin(me) != VMSRS_OK) ++tally.unexpected;
    const bool crash = random() % 4 == 0;
    std::uint64_t wrote[8];
    for (std::size_t i = 0; i < 8; ++i) {
      wrote[i] = std::uint64_t{random()} << 32 | random();
      if (server.store(me, own + 24 * i, wrote[i]) != VMSRS_OK) ++tally.unexpected;
      if (server.store(me, kOwn * kThreads + random() % 500, random(), 4) != VMSRS_OK)
        ++tally.unexpected;
      if (server.load(me, own + 24 * i) != wrote[i]) ++tally.wrong;
    }
    if (crash) {
      if (me.crash().status != VMSRS_OK) ++tally.unexpected;
      if (server.store(me, own, 1) != VMSRS_CRASHED) ++tally.unexpected;
      OneServer<>::bury(me);
      ++tally.crashed;
    } else {
      if (OneServer<>::end(me) != VMSRS_OK) ++tally.unexpected;
      std::copy(wrote, wrote + 8, committed);
      ++tally.finished;
    }
    for (std::size_t i = 0; i < 8; ++i)
      if (server.load(me, own + 24 * i) != committed[i]) ++tally.wrong;
  }
}

// A reader of the window: epochs and generations never go back.
void watch(OneServer<>& server, const std::atomic<bool>& stop, Tally& tally) {
  const vmsrs_window& window = *server.machine.platform.window(0);
  std::uint64_t epoch = 0;
  std::uint64_t generations[kThreads] = {};
  while (!stop) {
    const std::uint64_t mode = atomic_load(window.status.mode);
    if (mode >> 1 < epoch) ++tally.wrong;
    epoch = mode >> 1;
    for (unsigned slot = 0; slot < kThreads; ++slot) {
      const std::uint64_t word = atomic_load(window.users[slot]);
      if (word >> 2 < generations[slot]) ++tally.wrong;
      generations[slot] = word >> 2;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

// Management looks on, collects, and checks all the while.
void manage(OneServer<>& server, const std::atomic<bool>& stop, Tally& tally) {
  while (!stop) {
    (void)server.manager.call(VMSRS_CALL_MGMT_COLLECT, server.token, 0, ~0ull);
    const vmsrs_check_report report = server.check();
    for (const vmsrs_check_result& result : report.results)
      if (result.verdict == VMSRS_VERDICT_VIOLATED) ++tally.wrong;
    (void)server.info();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(threads_crash_and_finish_side_by_side, OneServer<>) {
  Tally tally;
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < kThreads; ++i) workers.emplace_back([&, i] { work(*this, i, tally); });
  std::thread watcher([&] { watch(*this, stop, tally); });
  std::thread management([&] { manage(*this, stop, tally); });
  for (std::thread& worker : workers) worker.join();
  stop = true;
  watcher.join();
  management.join();

  BOOST_TEST(tally.wrong == 0u);
  BOOST_TEST(tally.unexpected == 0u);
  BOOST_TEST(tally.crashed > 0u);
  BOOST_TEST(tally.finished > 0u);
  BOOST_TEST(!suppressing());
  BOOST_TEST(info().demand_restore_count + info().collect_restore_count > 0u);
  BOOST_TEST(ledger().record_count == 0u);
  BOOST_TEST(std::memcmp(memory, ledger().regions[0].mirror, sizeof memory) == 0);
  BOOST_TEST(sound());
}

// Servers share nothing but the storage: attaching, filling and detaching at once.
BOOST_AUTO_TEST_CASE(servers_come_and_go_at_once) {
  Machine machine;
  Client manager(kManagerSpace);
  const std::uint64_t token = manager.open().rdx;
  for (unsigned i = 0; i < kThreads; ++i)
    (void)manager.define(token, "server" + std::to_string(i), secret_of(1));
  const std::uint64_t empty = vmsrs::recovery::EngineProbe::pool().used_bytes();
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number)
    threads.emplace_back([&, number] {
      alignas(64) std::uint8_t memory[4096] = {};
      Client me(0x100000 * (number + 1));
      for (std::uint32_t round = 0; round < 100; ++round) {
        const Result attached = me.attach("server" + std::to_string(number), secret_of(1), round);
        wrong += attached.status != VMSRS_OK;
        wrong += me.profile(memory, sizeof memory, 8u << (round % 4)).status != VMSRS_OK;
        wrong += me.call(VMSRS_CALL_USER_BEGIN).status != VMSRS_OK;
        wrong += me.call(VMSRS_CALL_FILL_RANGE, address_of(memory), round & 255, 4096).status !=
                 VMSRS_OK;
        if (round % 3 == 0) continue;  // dies with its user open; the next one has its root
        wrong += me.call(VMSRS_CALL_USER_END).status != VMSRS_OK;
        if (round % 3 == 1) wrong += me.call(VMSRS_CALL_DETACH).status != VMSRS_OK;
      }
      (void)me.call(VMSRS_CALL_USER_END);
      (void)me.call(VMSRS_CALL_DETACH);
    });
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(vmsrs::recovery::EngineProbe::pool().used_bytes() == empty);
}
