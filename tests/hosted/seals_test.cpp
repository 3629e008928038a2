// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "hosted_process.hpp"

// What a client cannot do with the memory that it is given.
using namespace vmsrs::test;

namespace {

struct Attached {
  HostedProcess hosted;
  Manager manager{hosted};
  std::uint32_t server = manager.define("server", secret_of(1));
  Client client{hosted.socket()};
  Attached() { BOOST_REQUIRE_EQUAL(client.attach("server", secret_of(1)).status, VMSRS_OK); }
};

void* map(int file, int protection, std::size_t bytes = VMSRS_WINDOW_BYTES) {
  errno = 0;
  return mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
}

void check_size_is_fixed(int file) {
  struct stat status {};
  BOOST_REQUIRE(fstat(file, &status) == 0);
  BOOST_CHECK_EQUAL(ftruncate(file, 0), -1);
  BOOST_CHECK_EQUAL(errno, EPERM);
  BOOST_CHECK_EQUAL(ftruncate(file, status.st_size + VMSRS_PAGE_BYTES), -1);
  BOOST_CHECK_EQUAL(errno, EPERM);
  BOOST_CHECK_EQUAL(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), -1);
  BOOST_CHECK_EQUAL(errno, EPERM);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(seals, Attached)

BOOST_AUTO_TEST_CASE(window_is_read_only) {
  int file = -1;
  const vmsrs_window* const window = client.window(&file);
  BOOST_REQUIRE(window != nullptr);
  BOOST_CHECK_EQUAL(window->status.magic, VMSRS_WINDOW_MAGIC);
  BOOST_CHECK(map(file, PROT_READ | PROT_WRITE) == MAP_FAILED);
  BOOST_CHECK_EQUAL(errno, EPERM);
  void* const readable = map(file, PROT_READ);
  BOOST_REQUIRE(readable != MAP_FAILED);
  BOOST_CHECK_EQUAL(mprotect(readable, VMSRS_WINDOW_BYTES, PROT_READ | PROT_WRITE), -1);
  BOOST_CHECK_EQUAL(pwrite(file, "x", 1, 0), -1);
  BOOST_CHECK_EQUAL(errno, EPERM);
  BOOST_CHECK_EQUAL(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  BOOST_CHECK_EQUAL(errno, EPERM);
  const std::string again = "/proc/self/fd/" + std::to_string(file);
  const int reopened = open(again.c_str(), O_RDWR | O_CLOEXEC);
  if (reopened >= 0) BOOST_CHECK(map(reopened, PROT_READ | PROT_WRITE) == MAP_FAILED);
  check_size_is_fixed(file);
  BOOST_CHECK_EQUAL(window->status.magic, VMSRS_WINDOW_MAGIC);
}

BOOST_AUTO_TEST_CASE(regions_and_call_area_keep_their_size) {
  vmsrs_status status;
  int file = -1;
  BOOST_REQUIRE(client.take_memory(16 * VMSRS_PAGE_BYTES, status, &file) != nullptr);
  check_size_is_fixed(file);
  // The other direction: without its pages the memory is still there, and reads as zeroes.
  BOOST_CHECK_EQUAL(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  BOOST_CHECK_EQUAL(manager.violations(), "");
}

BOOST_AUTO_TEST_CASE(window_only_after_attach) {
  Client stranger(hosted.socket());
  BOOST_CHECK(stranger.window() == nullptr);
  vmsrs_status status;
  BOOST_CHECK(stranger.take_memory(VMSRS_PAGE_BYTES, status) == nullptr);
  BOOST_CHECK_EQUAL(status, VMSRS_NOT_ATTACHED);
  BOOST_CHECK_EQUAL(stranger.attach("server", secret_of(2)).status, VMSRS_DENIED);
  BOOST_CHECK_EQUAL(stranger.attach("nobody", secret_of(1)).status, VMSRS_DENIED);
  BOOST_CHECK(stranger.window() == nullptr);
  BOOST_CHECK_EQUAL(stranger.attach("server", secret_of(1)).status, VMSRS_OK);
  BOOST_CHECK(stranger.window() != nullptr);
}

BOOST_AUTO_TEST_CASE(the_kernel_names_the_process) {
  BOOST_CHECK_EQUAL(manager.info(server).process_id, static_cast<std::uint32_t>(getpid()));
}

BOOST_AUTO_TEST_CASE(isolation_is_told_truthfully) {
  const Answer version = client.call(VMSRS_CALL_VERSION);
  BOOST_CHECK_EQUAL(version.rdx, VMSRS_ABI_VERSION);
  BOOST_CHECK_EQUAL(version.rsi, VMSRS_ISOLATION_PROCESS);
  const vmsrs_stats stats = manager.stats();
  BOOST_CHECK_EQUAL(stats.isolation, VMSRS_ISOLATION_PROCESS);
  BOOST_CHECK_EQUAL(stats.hidden_bytes, 64u << 20);
  // A connection counts its calls when it falls idle, so the counters come a little late.
  std::uint64_t calls = 0, cycles = 0;
  for (int round = 0; round < 250 && calls < 4; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    calls = cycles = 0;
    vmsrs_exits exits{};
    for (std::uint32_t cpu = 0;
         manager.client()
             .call(VMSRS_CALL_MGMT_EXITS, manager.token(), cpu, address_of(&exits), sizeof exits)
             .status == VMSRS_OK;
         ++cpu) {
      calls += exits.count[VMSRS_EXIT_VMMCALL];
      cycles += exits.cycles[VMSRS_EXIT_VMMCALL];
    }
  }
  BOOST_CHECK_GE(calls, 4u);
  BOOST_CHECK_GT(cycles, calls);
}

// vmsrs-hosted holds secrets' hashes and all servers' data: nobody but root may look into it.
BOOST_AUTO_TEST_CASE(process_is_closed) {
  struct stat status {};
  const std::string memory = "/proc/" + std::to_string(hosted.id()) + "/mem";
  BOOST_REQUIRE(stat(memory.c_str(), &status) == 0);
  BOOST_CHECK_EQUAL(status.st_uid, 0u);
  std::ifstream limits("/proc/" + std::to_string(hosted.id()) + "/limits");
  std::string line;
  bool no_core = false;
  while (std::getline(limits, line))
    no_core |= line.starts_with("Max core file size        0                    0");
  BOOST_CHECK(no_core);
}

BOOST_AUTO_TEST_SUITE_END()
