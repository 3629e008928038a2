// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// What the first fault of a site leaves for a debugger.
using namespace vmsrs::test;
namespace fs = std::filesystem;

namespace {

#define APART __attribute__((noinline, noclone))

volatile int counted = 0;

// Two functions, so that the place of the fault is not the only frame. The store is at another
// place of the program for each `Site`.
template <int Site>
APART void dump_innermost(std::uint64_t* wild) {
  *static_cast<volatile std::uint64_t*>(wild) = Site;
  counted = counted + 1;
}
template <int Site>
APART void dump_caller(std::uint64_t* wild) {
  volatile std::uint64_t local[8] = {Site};
  dump_innermost<Site>(wild);
  counted = counted + static_cast<int>(local[0]);
}

APART void dump_by_way_of_libc(const char* wild) {
  counted = counted + static_cast<int>(strlen(wild));
  counted = counted + 1;
}

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/vmsrs-dumps-XXXXXX";
    BOOST_REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
    setenv("VMSRS_DUMPS", name, 1);
  }
  ~Folder() {
    unsetenv("VMSRS_DUMPS");
    fs::remove_all(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::vector<fs::path> files() const {
    return {fs::directory_iterator(path_), fs::directory_iterator()};
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct Dumping {
  Folder folder;
  std::unique_ptr<AttachedServer> server = std::make_unique<AttachedServer>(0u, 300'000u);

  template <typename Body>
  void crash(Body body, int outcome = VMSRS_SUPPRESSED) {
    BOOST_CHECK_EQUAL(run(body), outcome);
  }
  template <int Site>
  void crash_at() {
    crash([this] { dump_caller<Site>(server->wild()); });
  }
  // What gdb has to say, without debug symbols of the system; no server is attached any more, for
  // it is started as a child.
  std::string debug(const fs::path& dump, const std::string& command) {
    server.reset();
    const std::string line =
        "gdb -q -nx -batch -iex 'set debuginfod enabled off' -iex 'set debug-file-directory "
        "/nowhere' -ex '" +
        command + "' /proc/" + std::to_string(getpid()) + "/exe '" + dump.string() + "' 2>&1";
    FILE* const pipe = popen(line.c_str(), "r");
    std::string text;
    char part[4096];
    while (const std::size_t got = fread(part, 1, sizeof part, pipe)) text.append(part, got);
    BOOST_CHECK_EQUAL(pclose(pipe), 0);
    BOOST_TEST_MESSAGE(text);
    return text;
  }
};

// In this order.
bool names(const std::string& text, std::vector<std::string> wanted) {
  std::size_t at = 0;
  for (const std::string& one : wanted) {
    at = text.find(one, at);
    if (at == std::string::npos) return false;
  }
  return true;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(dumps, Dumping)

BOOST_AUTO_TEST_CASE(gdb_names_the_functions) {
  crash_at<1>();
  const auto files = folder.files();
  BOOST_REQUIRE_EQUAL(files.size(), 1u);
  struct stat status;
  BOOST_REQUIRE_EQUAL(stat(files[0].c_str(), &status), 0);
  BOOST_CHECK_EQUAL(status.st_mode & 07777, 0600u);
  BOOST_CHECK_LT(status.st_size, 600 * 1024);
  const std::string text = debug(files[0], "bt");
  BOOST_CHECK(names(text, {"SIGSEGV", "#0 ", "dump_innermost<1>", "#1 ", "dump_caller<1>",
                           "vmsrs_run_user", "main"}));
}

BOOST_AUTO_TEST_CASE(a_fault_in_a_shared_library_too) {
  crash([this] { dump_by_way_of_libc(reinterpret_cast<const char*>(server->wild())); });
  const auto files = folder.files();
  BOOST_REQUIRE_EQUAL(files.size(), 1u);
  BOOST_CHECK_EQUAL(files[0].filename().string().find("libc"), 0u);
  const std::string text = debug(files[0], "bt");
  // What the function of the C library is called, its debug symbols would tell.
  BOOST_CHECK(names(text, {"#0 ", "#1 ", "dump_by_way_of_libc"}));
}

BOOST_AUTO_TEST_CASE(the_address_of_the_fault_is_told) {
  const auto wild = reinterpret_cast<std::uint64_t>(server->wild());
  crash_at<2>();
  BOOST_REQUIRE_EQUAL(folder.files().size(), 1u);
  char address[32];
  std::snprintf(address, sizeof address, "%#llx", static_cast<unsigned long long>(wild));
  const std::string text =
      debug(folder.files()[0], "print/x $_siginfo._sifields._sigfault.si_addr");
  BOOST_CHECK(names(text, {address}));
}

BOOST_AUTO_TEST_CASE(one_for_each_site) {
  crash_at<3>();
  BOOST_REQUIRE_EQUAL(folder.files().size(), 1u);
  const fs::path first = folder.files()[0];
  struct stat before, after;
  BOOST_REQUIRE_EQUAL(stat(first.c_str(), &before), 0);
  crash_at<3>();
  BOOST_CHECK_EQUAL(folder.files().size(), 1u);
  crash_at<4>();
  BOOST_CHECK_EQUAL(folder.files().size(), 2u);
  // Also of the next process, whose folder it is.
  server.reset();
  server = std::make_unique<AttachedServer>(0u, 300'000u);
  crash_at<3>();
  BOOST_CHECK_EQUAL(folder.files().size(), 2u);
  BOOST_REQUIRE_EQUAL(stat(first.c_str(), &after), 0);
  BOOST_CHECK_EQUAL(before.st_ino, after.st_ino);
}

BOOST_AUTO_TEST_CASE(four_in_a_minute) {
  crash_at<11>();
  crash_at<12>();
  crash_at<13>();
  crash_at<14>();
  BOOST_CHECK_EQUAL(folder.files().size(), 4u);
  crash_at<15>();
  BOOST_CHECK_EQUAL(folder.files().size(), 4u);
}

BOOST_AUTO_TEST_CASE(none_past_thirty_two) {
  for (int i = 0; i < 31; ++i) std::ofstream(folder.path() / std::to_string(i));
  crash_at<21>();
  BOOST_CHECK_EQUAL(folder.files().size(), 32u);
  crash_at<22>();
  BOOST_CHECK_EQUAL(folder.files().size(), 32u);
  fs::remove(folder.path() / "0");
  crash_at<22>();
  BOOST_CHECK_EQUAL(folder.files().size(), 32u);
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_gone_harms_nobody) {
  fs::remove_all(folder.path());
  crash_at<31>();
  BOOST_CHECK(!fs::exists(folder.path()));
}

BOOST_AUTO_TEST_CASE(a_jump_to_nowhere) {
  crash([this] { reinterpret_cast<void (*)()>(server->wild())(); }, VMSRS_UNWOUND);
  const auto files = folder.files();
  BOOST_REQUIRE_EQUAL(files.size(), 1u);
  BOOST_CHECK_EQUAL(files[0].filename().string().find("unknown+"), 0u);
  const std::string text = debug(files[0], "bt");
  BOOST_CHECK(names(text, {"#0 ", "?? ()", "vmsrs_run_user", "main"}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(dumps_off)

BOOST_AUTO_TEST_CASE(nothing_is_left_unless_a_folder_is_named) {
  Folder folder;
  unsetenv("VMSRS_DUMPS");
  const AttachedServer server(0u, 300'000u);
  std::uint64_t* const wild = const_cast<AttachedServer&>(server).wild();
  BOOST_CHECK_EQUAL(run([wild] { dump_caller<41>(wild); }), VMSRS_SUPPRESSED);
  BOOST_CHECK(folder.files().empty());
  for (const auto& entry : fs::directory_iterator("/"))
    BOOST_CHECK_MESSAGE(entry.path().extension() != ".core", entry.path());
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_none_is_refused_at_attach) {
  const SecretFile secret;
  start_engine();
  for (const char* wrong : {"relative", "/nowhere/at/all", "/dev/null"}) {
    setenv("VMSRS_DUMPS", wrong, 1);
    vmsrs_options options{};
    options.server_name = kServerName;
    options.secret_file = secret.path();
    BOOST_CHECK_EQUAL(vmsrs_attach(&options), VMSRS_ERROR_CONFIGURATION);
    const std::string said = vmsrs_error_message();
    BOOST_CHECK(said.find("VMSRS_DUMPS") != std::string::npos);
    BOOST_CHECK(said.find(wrong) != std::string::npos);
  }
  unsetenv("VMSRS_DUMPS");
}

BOOST_AUTO_TEST_SUITE_END()
