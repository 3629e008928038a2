// SPDX-License-Identifier: Apache-2.0
#include "daemon/reaper.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "fake_channel.hpp"
#include "scratch.hpp"

namespace vmsrs::test {
namespace {

// A /proc of files.
struct Fixture {
  Scratch scratch;
  FakeChannel channel;
  daemon::Reaper reaper{channel, daemon::Processes(scratch.path(""))};

  Fixture() { process(1, 'S', 1); }
  void process(int id, char state, int start) {
    const std::string folder = std::to_string(id);
    const std::string stat = folder + " (a) b) " + state +
                             " 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 " + std::to_string(start) +
                             " 0 0\n";
    thread(id, id, state);
    scratch.write(folder + "/stat", stat);
  }
  void thread(int id, int number, char state) {
    const std::string folder = std::to_string(id) + "/task/" + std::to_string(number);
    std::filesystem::create_directories(scratch.path(folder));
    scratch.write(folder + "/stat", std::to_string(number) + " (x) " + state +
                                        " 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n");
  }
  void remove(int id) { std::filesystem::remove_all(scratch.path(std::to_string(id))); }
  std::size_t reaped() {
    reaper.pass();
    return channel.calls.size();
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(reaper, Fixture)

BOOST_AUTO_TEST_CASE(living_server_is_left_alone) {
  process(4242, 'S', 500);
  BOOST_TEST(reaped() == 0u);
  BOOST_TEST(reaped() == 0u);
}

BOOST_AUTO_TEST_CASE(dead_server_is_reaped_by_its_process) {
  process(4242, 'S', 500);
  BOOST_TEST(reaped() == 0u);
  remove(4242);
  BOOST_REQUIRE(reaped() == 1u);
  BOOST_TEST(channel.calls[0] == "reap 0 4242");  // the roster was never attached
}

BOOST_AUTO_TEST_CASE(zombie_is_dead_but_not_while_a_thread_goes_on) {
  process(4242, 'Z', 500);
  thread(4242, 4243, 'S');
  BOOST_TEST(reaped() == 0u);
  thread(4242, 4243, 'Z');
  BOOST_TEST(reaped() == 1u);
}

BOOST_AUTO_TEST_CASE(another_process_of_the_same_number_is_not_the_server) {
  process(4242, 'S', 500);
  BOOST_TEST(reaped() == 0u);
  process(4242, 'S', 900);
  BOOST_TEST(reaped() == 1u);
}

BOOST_AUTO_TEST_CASE(each_process_by_itself) {
  channel.servers_now[0].process_ids[1] = 4300;
  channel.servers_now[0].process_count = 2;
  process(4242, 'S', 500);
  process(4300, 'S', 600);
  BOOST_TEST(reaped() == 0u);
  process(4300, 'S', 700);
  BOOST_REQUIRE(reaped() == 1u);
  BOOST_TEST(channel.calls[0] == "reap 0 4300");
}

BOOST_AUTO_TEST_CASE(nobody_is_dead_where_nobody_can_be_seen) {
  remove(1);
  BOOST_TEST(reaped() == 0u);
}

BOOST_AUTO_TEST_CASE(real_proc_knows_this_process_and_its_zombies) {
  const daemon::Processes processes;
  BOOST_TEST(processes.visible());
  BOOST_TEST(processes.start_time(static_cast<std::uint32_t>(::getpid())).has_value());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  BOOST_TEST(eventually(
      [&] { return !processes.start_time(static_cast<std::uint32_t>(child)).has_value(); }));
  ::waitpid(child, nullptr, 0);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace vmsrs::test
