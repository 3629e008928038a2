// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>

// What is the same whichever seam is below.
namespace vmsrs::test {

SeamState seam;

SecretFile::SecretFile(const std::string& content, unsigned mode) {
  char name[] = "/tmp/vmsrs-secret-XXXXXX";
  const int file = mkstemp(name);
  BOOST_REQUIRE(file >= 0);
  BOOST_REQUIRE(write(file, content.data(), content.size()) ==
                static_cast<ssize_t>(content.size()));
  fchmod(file, mode);
  close(file);
  path_ = name;
}

SecretFile::~SecretFile() { unlink(path_.c_str()); }

AttachedServer::AttachedServer(std::uint32_t fault_limit, std::uint32_t suppression_limit_ms,
                               bool signal_mask_stays, std::uint32_t stuck_limit_ms,
                               std::uint32_t exposed_sample_every)
    : AttachedServer([=] {
        vmsrs_options options{};
        options.fault_limit = fault_limit;
        options.suppression_limit_ms = suppression_limit_ms;
        options.signal_mask_stays = signal_mask_stays;
        options.stuck_limit_ms = stuck_limit_ms;
        options.exposed_sample_every = exposed_sample_every;
        options.crashed_calls = VMSRS_CALLS_ALL;  // crashed users of tests start threads
        // Tests crash far more often than servers.
        options.site_crash_limit = options.crash_limit = 1'000'000;
        return options;
      }()) {}

AttachedServer::AttachedServer(vmsrs_options options) {
  start_engine();
  options.server_name = kServerName;
  options.secret_file = secret_.path();
  options.trap_every_store = std::getenv("VMSRS_TEST_TRAPPING") != nullptr;
  BOOST_REQUIRE_MESSAGE(vmsrs_attach(&options) == 0, vmsrs_error_message());
  BOOST_REQUIRE_MESSAGE(Init_profile() == 0, vmsrs_error_message());
  words_ = static_cast<std::uint64_t*>(
      mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::size_t i = 0; i < word_count(); ++i) words_[i] = i + 1;
  BOOST_REQUIRE_MESSAGE(profile(words_, kRegionBytes, 8) == 0, vmsrs_error_message());
  if (std::getenv("VMSRS_TEST_STRICT") != nullptr)
    BOOST_REQUIRE_MESSAGE(vmsrs_make_strict(words_) == 0, vmsrs_error_message());
  wild_ = static_cast<std::uint64_t*>(
      mmap(nullptr, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

AttachedServer::~AttachedServer() {
  seam.touch_every = 0;
  seam.without_call_buffer = false;
  seam.before_call = nullptr;
  const vmsrs_server_info info = server_info();
  BOOST_CHECK_EQUAL(info.active_users, 0u);
  BOOST_CHECK_EQUAL(info.crashed_users, 0u);
  BOOST_CHECK_EQUAL(info.mode & VMSRS_MODE_SUPPRESSION, 0u);
  check_invariants();
  BOOST_CHECK_MESSAGE(vmsrs_detach() == 0, vmsrs_error_message());
  munmap(words_, kRegionBytes);
  munmap(wild_, 1 << 20);
}

bool AttachedServer::is_pristine() const {
  for (std::size_t i = 0; i < word_count(); ++i)
    if (words_[i] != i + 1) return false;
  return true;
}

}  // namespace vmsrs::test
