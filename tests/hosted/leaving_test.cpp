// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <memory>
#include <thread>

#include "victim_site.hpp"

// A process that ends in the middle of a user's scope, by its own doing.
using namespace vmsrs::test;

namespace {

struct LeaverSite : VictimSite {
  // What it printed; its exit code.
  std::string run(const std::string& how, int& code) { return run(how, code, hosted); }
  std::string run(const std::string& how, int& code, const HostedProcess& on) {
    int ends[2];
    BOOST_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    Child leaver({VMSRS_LEAVER, "victim", secret_file, how}, {"VMSRS_HOSTED_SOCKET=" + on.socket()},
                 ends[1]);
    close(ends[1]);
    output = ends[0];
    const std::string printed = line();
    code = leaver.wait();
    close(output);
    return printed;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(leaving, LeaverSite)

// What the user had stored is taken back, what was finished is there for the next process.
BOOST_AUTO_TEST_CASE(a_process_that_ends_within_a_scope) {
  for (const char* how : {"exit", "quick_exit", "return", "main_thread"}) {
    int code = -1;
    BOOST_CHECK_EQUAL(run(how, code), "");
    BOOST_CHECK_EQUAL(code, 0);
    BOOST_REQUIRE(manager.is_detached(server));
    const vmsrs_server_info info = manager.info(server);
    BOOST_CHECK_EQUAL(info.kept_region_count, 1u);
    BOOST_CHECK_EQUAL(info.active_users + info.crashed_users, 0u);
    BOOST_CHECK_EQUAL(run("look", code), "1234");
    BOOST_CHECK_EQUAL(code, 0);
    look();
  }
}

// What was taken for a region that was refused is given back: it counts in the account's memory.
BOOST_AUTO_TEST_CASE(a_region_refused_a_thousand_times) {
  HostedProcess small({"--memory-per-account", "256MiB"});
  Manager of_small(small);
  of_small.define("victim", secret);
  int code = -1;
  BOOST_CHECK_EQUAL(run("refused", code, small), "refused");
  BOOST_CHECK_EQUAL(code, 0);
}

// A server that is started again sooner than its dead process is given back waits for that.
BOOST_AUTO_TEST_CASE(one_that_comes_before_the_dead_one_is_gone) {
  auto elder = std::make_unique<Client>(hosted.socket());
  BOOST_REQUIRE_EQUAL(elder->attach("victim", secret).status, VMSRS_OK);
  std::thread end_of_elder([&] {
    for (unsigned i = 0; i < 2000 && manager.info(server).process_count != 2; ++i) usleep(1000);
    usleep(200'000);
    elder.reset();
  });
  int code = -1;
  BOOST_CHECK_EQUAL(run("afresh", code), "afresh");
  BOOST_CHECK_EQUAL(code, 0);
  end_of_elder.join();
}

BOOST_AUTO_TEST_CASE(one_that_comes_beside_a_living_one) {
  Client elder(hosted.socket());
  BOOST_REQUIRE_EQUAL(elder.attach("victim", secret).status, VMSRS_OK);
  int code = -1;
  BOOST_CHECK_EQUAL(run("afresh", code),
                    "Init_profile: Init_profile: another process of this server is attached, or a "
                    "user has not ended");
  BOOST_CHECK_NE(code, 0);
}

BOOST_AUTO_TEST_SUITE_END()
