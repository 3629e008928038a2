// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string>
#include <vmsrs/vmsrs.hpp>

#include "fixture.hpp"

// Named regions as a program sees them.
using namespace vmsrs::test;

namespace {

// Memory of the program's own, to be profiled; must outlive the attachment.
class Pages {
 public:
  explicit Pages(std::uint64_t value, std::size_t count = 1) : bytes_(count * VMSRS_PAGE_BYTES) {
    words = static_cast<std::uint64_t*>(
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < bytes_ / 8; ++i) words[i] = value;
  }
  ~Pages() { munmap(words, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  int profile_as(const char* name, unsigned granule = 8) {
    return profile_named(words, bytes_, granule, name);
  }
  std::uint64_t* words;

 private:
  std::size_t bytes_;
};

std::uint64_t* going = nullptr;
void take_away(std::uint64_t call) {
  if (call == VMSRS_CALL_PROFILE_FILL) mprotect(going, VMSRS_PAGE_BYTES, PROT_NONE);
}

bool message_has(const char* text) {
  BOOST_TEST_MESSAGE(vmsrs_error_message());
  return std::strstr(vmsrs_error_message(), text) != nullptr;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(named)

BOOST_AUTO_TEST_CASE(content_of_the_process_before) {
  start_engine();
  leave_behind("stock", 1234, 5);
  BOOST_CHECK_EQUAL(server_info().kept_bytes, VMSRS_PAGE_BYTES);
  Pages pages(77);
  DefaultServer server;  // its Init_profile leaves what is kept alone
  BOOST_CHECK_EQUAL(pages.profile_as("stock"), VMSRS_PROFILED_KEPT);
  BOOST_CHECK_EQUAL(pages.words[0], 1234u);
  BOOST_CHECK_EQUAL(pages.words[1], 5u);
  BOOST_CHECK_EQUAL(pages.words[VMSRS_PAGE_BYTES / 8 - 1], 5u);
  BOOST_CHECK_EQUAL(server_info().kept_bytes, 0u);
  // Protected like any other.
  vmsrs::run_user(
      1,
      [&] {
        vmsrs::store(&pages.words[0], std::uint64_t{1});
        crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
      },
      [] {});
  BOOST_CHECK_EQUAL(vmsrs::load(&pages.words[0]), 1234u);
}

// The attempt fails, and the content is there for the next one.
BOOST_AUTO_TEST_CASE(memory_that_goes_while_it_is_filled) {
  start_engine();
  leave_behind("stock", 1234, 5);
  Pages pages(77);
  DefaultServer server;
  going = pages.words;
  seam.before_call = take_away;
  BOOST_CHECK_EQUAL(pages.profile_as("stock"), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK(message_has("filling the memory"));
  seam.before_call = nullptr;
  mprotect(going, VMSRS_PAGE_BYTES, PROT_READ | PROT_WRITE);
  BOOST_CHECK_EQUAL(pages.words[0], 77u);
  BOOST_CHECK_EQUAL(pages.profile_as("stock"), VMSRS_PROFILED_KEPT);
  BOOST_CHECK_EQUAL(pages.words[0], 1234u);
}

BOOST_AUTO_TEST_CASE(new_name_takes_the_memory_as_it_is) {
  Pages pages(77), others(78);
  DefaultServer server;
  BOOST_CHECK_EQUAL(pages.profile_as("stock"), VMSRS_PROFILED_NEW);
  BOOST_CHECK_EQUAL(pages.words[0], 77u);
  BOOST_CHECK_EQUAL(others.profile_as("stock"), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(others.words[0], 78u);
}

BOOST_AUTO_TEST_CASE(another_shape) {
  start_engine();
  leave_behind("stock", 1234, 5);
  Pages larger(77, 2), coarser(78);
  DefaultServer server;
  BOOST_CHECK_EQUAL(larger.profile_as("stock"), VMSRS_ERROR_STATE);
  BOOST_CHECK(message_has("kept with another size or granule"));
  BOOST_CHECK_EQUAL(coarser.profile_as("stock", 16), VMSRS_ERROR_STATE);
  BOOST_CHECK_EQUAL(coarser.words[0], 78u);
  BOOST_CHECK_EQUAL(unprofile_named("stock"), 0);
  BOOST_CHECK_EQUAL(server_info().kept_bytes, 0u);
  BOOST_CHECK_EQUAL(unprofile_named("stock"), VMSRS_ERROR_ARGUMENT);
  BOOST_CHECK(message_has("no region has the name stock"));
  BOOST_CHECK_EQUAL(larger.profile_as("stock"), VMSRS_PROFILED_NEW);
}

BOOST_AUTO_TEST_CASE(detaching_gives_it_up) {
  Pages pages(77);
  {
    DefaultServer server;
    BOOST_CHECK_EQUAL(pages.profile_as("stock"), VMSRS_PROFILED_NEW);
  }
  BOOST_CHECK_EQUAL(server_info().kept_region_count, 0u);
  BOOST_CHECK_EQUAL(server_info().storage_used_bytes, 0u);
}

BOOST_AUTO_TEST_CASE(bad_names) {
  Pages pages(77);
  DefaultServer server;
  for (const std::string& name : {std::string(), std::string(32, 'x'), std::string("a b")}) {
    BOOST_CHECK_EQUAL(pages.profile_as(name.c_str()), VMSRS_ERROR_ARGUMENT);
    BOOST_CHECK_EQUAL(unprofile_named(name.c_str()), VMSRS_ERROR_ARGUMENT);
  }
  BOOST_CHECK_EQUAL(pages.profile_as(std::string(31, 'x').c_str()), VMSRS_PROFILED_NEW);
}

BOOST_AUTO_TEST_SUITE_END()
