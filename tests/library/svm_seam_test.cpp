// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstring>
#include <string>

#include "call.hpp"
#include "platform.hpp"

// The hypervisor's seam where there is no hypervisor: what it says, and the windows as files.
namespace {

using vmsrs::guest::map_window;

struct Directory {
  Directory() { BOOST_REQUIRE(mkdtemp(path) != nullptr); }
  ~Directory() {
    unlink(window().c_str());
    rmdir(path);
  }
  std::string window() const { return std::string(path) + "/server-03"; }
  void make_window(long bytes) const {
    std::FILE* file = std::fopen(window().c_str(), "w");
    BOOST_REQUIRE(file != nullptr);
    std::fputc('V', file);
    std::fclose(file);
    BOOST_REQUIRE(truncate(window().c_str(), bytes) == 0);
  }
  char path[32] = "/tmp/vmsrs-windows-XXXXXX";
};

bool message_has(const char* text) { return std::strstr(vmsrs_error_message(), text) != nullptr; }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(svm_seam, Directory)

BOOST_AUTO_TEST_CASE(missing_window) {
  BOOST_CHECK(map_window(path, 3) == nullptr);
  BOOST_CHECK(message_has("server-03: No such file"));
  BOOST_CHECK(message_has("mounted"));
  BOOST_CHECK(map_window(std::string(600, 'x').c_str(), 3) == nullptr);
  BOOST_CHECK(message_has("too long"));
}

BOOST_AUTO_TEST_CASE(short_window) {
  make_window(VMSRS_WINDOW_BYTES - 1);
  BOOST_CHECK(map_window(path, 3) == nullptr);
  BOOST_CHECK(message_has("not a window"));
}

BOOST_AUTO_TEST_CASE(good_window) {
  make_window(VMSRS_WINDOW_BYTES);
  const vmsrs_window* window = map_window(path, 3);
  BOOST_REQUIRE(window != nullptr);
  BOOST_CHECK_EQUAL(window->status.magic, static_cast<std::uint64_t>('V'));
  BOOST_CHECK_EQUAL(window->users[VMSRS_MAX_USERS - 1], 0u);
  vmsrs::guest::unmap_window(window);
}

// An account that may lock 64 KiB, and a region of 128: refused, with the way out, and nothing of
// it stays locked.
BOOST_AUTO_TEST_CASE(region_that_may_not_be_locked) {
  constexpr std::size_t kMost = 65536;
  constexpr uid_t kNobody = 65534;
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {kMost, kMost};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) _exit(1);
    if (getuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0) _exit(2);  // whom it binds
    void* const at =
        mmap(nullptr, 2 * kMost, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vmsrs::guest::svm::prepare_region(at, 2 * kMost) != VMSRS_ERROR_SYSTEM) _exit(3);
    if (!message_has("mlock of 131072 bytes: Cannot allocate memory: raise the limit")) _exit(4);
    if (!message_has("ulimit -l") || !message_has("LimitMEMLOCK=")) _exit(5);
    if (vmsrs::guest::svm::prepare_region(at, kMost) != 0) _exit(6);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  BOOST_CHECK_EQUAL(status, 0);
}

BOOST_AUTO_TEST_SUITE_END()
