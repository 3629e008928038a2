// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "victim_site.hpp"

// Several processes of one server, which share a region and meet in every granule of it.
using namespace vmsrs::test;

namespace {

const unsigned kKills = kill_points(60);
constexpr unsigned kWorkers = 3;

struct WorkerSite : VictimSite {
  std::string notebook = hosted.path("notebook");
  struct Worker {
    std::unique_ptr<Child> child;
    int output = -1;
  };
  Worker workers[kWorkers];

  ~WorkerSite() {
    for (Worker& worker : workers) end(worker);
  }
  std::string line(const Worker& worker) const {
    std::string text;
    char c;
    while (read(worker.output, &c, 1) == 1 && c != '\n') text += c;
    return text;
  }
  void begin(Worker& worker, std::vector<std::string> mode) {
    int ends[2];
    BOOST_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    std::vector<std::string> words = {VMSRS_WORKER, "victim", secret_file};
    words.insert(words.end(), mode.begin(), mode.end());
    words.push_back(notebook);
    worker.child = std::make_unique<Child>(
        words, std::vector<std::string>{"VMSRS_HOSTED_SOCKET=" + hosted.socket()}, ends[1]);
    close(ends[1]);
    worker.output = ends[0];
  }
  void end(Worker& worker) {
    if (worker.child == nullptr) return;
    worker.child.reset();  // SIGKILL
    close(worker.output);
  }
  void start_all() {
    for (unsigned i = 0; i < kWorkers; ++i) {
      begin(workers[i], {i == 0 ? "found" : "join", std::to_string(i)});
      BOOST_REQUIRE_EQUAL(line(workers[i]), "ready");
    }
  }
  // One that ended has said why.
  void require_alive(const Worker& worker) {
    if (!worker.child->alive()) BOOST_FAIL(line(worker));
  }
  bool has_processes(unsigned count) {
    for (unsigned i = 0; i < 2000 && manager.info(server).process_count != count; ++i) usleep(5000);
    return manager.info(server).process_count == count;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(processes, WorkerSite)

// One after another is killed at any instruction, also the one that made the region, and comes
// back; the others go on, and every value that was committed stays. (A worker that sees something
// wrong says what, and ends.)
BOOST_AUTO_TEST_CASE(one_is_killed_and_the_others_go_on) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  BOOST_TEST_MESSAGE("seed " << seed);
  start_all();
  BOOST_CHECK(has_processes(kWorkers));
  std::uint64_t contended = 0;
  for (unsigned i = 0; i < kKills; ++i) {
    usleep(static_cast<useconds_t>(random() % 15'000));
    contended += manager.info(server).contended_granules;
    Worker& victim = workers[random() % kWorkers];
    require_alive(victim);
    end(victim);
    // Half of them come back before anybody has seen to what they left.
    if (i % 2 == 0) {
      BOOST_REQUIRE(has_processes(kWorkers - 1));
      BOOST_REQUIRE_EQUAL(manager.info(server).attached, 1u);
    }
    begin(victim, {"join", std::to_string(&victim - workers)});
    BOOST_REQUIRE_EQUAL(line(victim), "ready");
  }
  // On a busy machine the workers may have met nowhere yet.
  for (unsigned i = 0; i < 2000 && contended == 0; ++i) {
    usleep(5000);
    contended += manager.info(server).contended_granules;
  }
  for (Worker& worker : workers) require_alive(worker);
  BOOST_CHECK_EQUAL(manager.violations(), "");
  const vmsrs_server_info info = manager.info(server);
  BOOST_TEST_MESSAGE(kKills << " kills, " << info.finished_count << " commits, "
                            << info.faults[VMSRS_FAULT_NULL] << " faults, "
                            << info.faults[VMSRS_FAULT_ABORT] << " users that died, "
                            << info.demand_restore_count << " and " << info.collect_restore_count
                            << " restores, " << contended << " contended granules");
  BOOST_CHECK_GT(info.finished_count, kKills);
  BOOST_CHECK_GT(info.faults[VMSRS_FAULT_NULL], 0u);
  BOOST_CHECK_GT(info.collect_restore_count, 0u);
  BOOST_CHECK_GT(info.demand_restore_count, 0u);
  BOOST_CHECK_GT(contended, 0u);
}

// The name outlives all of them.
BOOST_AUTO_TEST_CASE(all_are_killed_and_come_back) {
  for (unsigned i = 0; i < 5; ++i) {
    start_all();
    usleep(20'000);
    for (Worker& worker : workers) end(worker);
    BOOST_REQUIRE(manager.is_detached(server));
    BOOST_REQUIRE_EQUAL(manager.info(server).kept_region_count, 1u);
    BOOST_REQUIRE_EQUAL(manager.info(server).record_count, 0u);
    look_at_hosted();
  }
}

// A process that stands still keeps nobody from working, unless it stands within a store to a
// granule that others want (which is waited for): then another moment is tried.
BOOST_AUTO_TEST_CASE(one_stands_still) {
  start_all();
  bool went_on = false;
  for (unsigned attempt = 0; attempt < 10 && !went_on; ++attempt) {
    workers[0].child->signal(SIGSTOP);
    const std::uint64_t before = manager.info(server).finished_count;
    for (unsigned i = 0; i < 400 && !went_on; ++i, usleep(5000))
      went_on = manager.info(server).finished_count >= before + 50;
    workers[0].child->signal(SIGCONT);
    usleep(20'000);
  }
  BOOST_CHECK(went_on);
  for (Worker& worker : workers) require_alive(worker);
}

BOOST_AUTO_TEST_CASE(forked_children_attach_by_themselves) {
  Worker& parent = workers[0];
  begin(parent, {"fork"});
  std::string last;
  for (std::string text = line(parent); !text.empty(); text = line(parent)) last = text;
  BOOST_CHECK_EQUAL(last, "done");
  BOOST_CHECK_EQUAL(parent.child->wait(), 0);
  // The name is kept if the last one to go was a child that said nothing.
  BOOST_REQUIRE(manager.is_detached(server));
  look_at_hosted();
  const vmsrs_server_info info = manager.info(server);
  BOOST_CHECK_EQUAL(info.region_count + info.record_count, 0u);
  BOOST_CHECK_EQUAL(info.active_users + info.crashed_users, 0u);
  BOOST_CHECK_GT(info.demand_restore_count + info.collect_restore_count, 0u);
}

BOOST_AUTO_TEST_CASE(no_more_than_there_are_places_for) {
  std::vector<std::unique_ptr<Client>> clients;
  for (unsigned i = 0; i < VMSRS_MAX_PROCESSES; ++i) {
    clients.push_back(std::make_unique<Client>(hosted.socket()));
    const Answer answer = clients.back()->attach("victim", secret);
    BOOST_REQUIRE_EQUAL(answer.status, VMSRS_OK);
    BOOST_CHECK_EQUAL(answer.rsi, i);
  }
  Client one_more(hosted.socket());
  BOOST_CHECK_EQUAL(one_more.attach("victim", secret).status, VMSRS_NO_SLOT);
  BOOST_CHECK_EQUAL(manager.info(server).process_count, VMSRS_MAX_PROCESSES);
  clients.pop_back();
  BOOST_REQUIRE(has_processes(VMSRS_MAX_PROCESSES - 1));
  BOOST_CHECK_EQUAL(one_more.attach("victim", secret).status, VMSRS_OK);
}

BOOST_AUTO_TEST_SUITE_END()
