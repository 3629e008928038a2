// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>

#include "daemon/event_documents.hpp"
#include "daemon_fixture.hpp"
#include "shared_ring.hpp"
#include "store/event_reader.hpp"

// Events of a ring that outlives the daemon, which is killed again and again as it takes them over.
namespace vmsrs::test {
namespace {

struct RingFixture : DaemonFixture {
  std::string ring_path = scratch.path("ring");
  SharedRing* ring = SharedRing::at(ring_path);
  std::vector<std::string> words = {
      VMSRS_VMSRSD_ON_RING, "--config",
      configure("servers:\n" + server("shop"), "error", ", keep_size: 64GiB")};
  std::vector<std::string> environment = {"VMSRS_TEST_RING=" + ring_path};
  store::EventReader reader{store};

  // Adds events until it is destroyed, some thousand a second, as far as there is room.
  class Producer {
   public:
    explicit Producer(SharedRing& ring) : thread_([this, &ring] { run(ring); }) {}
    ~Producer() {
      stop_ = true;
      thread_.join();
    }

   private:
    void run(SharedRing& ring) const {
      while (!stop_) {
        for (int i = 0; i < 20; ++i) (void)ring.add_next();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
    std::atomic<bool> stop_ = false;
    std::thread thread_;
  };

  std::uint64_t newest_stored() const {
    store::Found found;
    if (reader.list({}, {{}, {}, 1}, found) || found.events.empty()) return 0;
    return found.events.back().event.sequence;
  }

  // The store holds what the ring has issued: each once, in its order, with its content.
  void check_store() const {
    vmsrs_server_info shop{};
    std::snprintf(shop.name, sizeof shop.name, "shop");
    store::Symbols symbols;
    std::uint64_t expected = 0;
    std::uint64_t wrong = 0;
    for (std::int64_t after = 0;;) {
      store::Found found;
      BOOST_REQUIRE(!reader.list({}, {{}, after, 1000}, found));
      if (found.events.empty()) break;
      for (const store::StoredEvent& one : found.events) {
        const store::Event wanted =
            daemon::engine_event(event_number(++expected), 0, {shop}, symbols, "");
        store::Event event = one.event;
        event.time = wanted.time;  // the clock's, of the pass
        if (!(event == wanted)) ++wrong;
      }
      after = found.events.back().id;
    }
    BOOST_TEST(wrong == 0u);
    BOOST_TEST(expected == ring->newest.load());
  }

  void kill_often(int kills, unsigned seed) {
    BOOST_REQUIRE(ring != nullptr);
    std::mt19937 random(seed);
    int midway = 0;       // events were waiting
    int before_told = 0;  // stored, and the ring had not been told
    {
      const Producer producer(*ring);
      for (int i = 0; i < kills; ++i) {
        Program daemon(words, environment);
        const std::uint64_t begin = ring->read_calls.load();
        const std::uint64_t wanted = begin + random() % 40;
        BOOST_REQUIRE(eventually([&] { return ring->read_calls.load() > wanted; }));
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
        daemon.signal(SIGKILL);
        BOOST_TEST(daemon.wait().exit_code == 128 + SIGKILL);
        if (ring->newest.load() > ring->acknowledged.load()) ++midway;
        if (newest_stored() > ring->acknowledged.load()) ++before_told;
      }
    }
    Program daemon(words, environment);
    BOOST_TEST(eventually([&] { return ring->acknowledged.load() == ring->newest.load(); }));
    daemon.signal(SIGTERM);
    const Finished finished = daemon.wait();
    BOOST_TEST(finished.exit_code == 0);
    BOOST_TEST(finished.err == "");
    check_store();
    std::printf(
        "%d kills (seed %u), %d with events waiting, %d between COMMIT and acknowledgement; "
        "%llu events, each stored once\n",
        kills, seed, midway, before_told, static_cast<unsigned long long>(ring->newest.load()));
    BOOST_TEST(midway > 0);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(killed, RingFixture)
BOOST_AUTO_TEST_CASE(twenty_times_it_loses_and_doubles_nothing) { kill_often(20, 1); }
BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(killed_1000, RingFixture)
BOOST_AUTO_TEST_CASE(a_thousand_times_it_loses_and_doubles_nothing) { kill_often(1000, 2); }
BOOST_AUTO_TEST_SUITE_END()

}  // namespace vmsrs::test
