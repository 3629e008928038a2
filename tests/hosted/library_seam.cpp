// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "control.hpp"
#include "fixture.hpp"
#include "hosted_process.hpp"
#include "platform.hpp"

// The seam under the library's own tests: the real one of the hosted platform, with a counter in
// front, and a real vmsrs-hosted at its other end.
namespace vmsrs::test {
namespace {

const Secret kServerSecret = secret_of(0xa5);

struct Site {
  HostedProcess hosted;
  Manager manager{hosted};
  std::uint32_t server = manager.define(kServerName, kServerSecret);
};
Site* site;

void end_site() { delete site; }

}  // namespace

void start_engine() {
  if (site != nullptr) return;
  site = new Site;
  atexit(end_site);
  setenv("VMSRS_HOSTED_SOCKET", site->hosted.socket().c_str(), 1);
}

void check_invariants() { BOOST_CHECK_EQUAL(site->manager.violations(), ""); }

void suppress_as_operator(std::uint64_t user_number) {
  const auto result =
      site->manager.client().call(VMSRS_CALL_MGMT_SUPPRESS, site->manager.token(), site->server,
                                  user_number % VMSRS_MAX_USERS, user_number / VMSRS_MAX_USERS - 1);
  BOOST_CHECK_EQUAL(result.status, VMSRS_OK);
}

void contain_as_operator(std::uint32_t mode) {
  const Answer answer = site->manager.client().call(VMSRS_CALL_MGMT_CONTAINMENT,
                                                    site->manager.token(), site->server, mode);
  BOOST_CHECK_EQUAL(answer.status, VMSRS_OK);
}

std::string label_seen(std::uint64_t user_number) {
  char text[VMSRS_LABEL_BYTES];
  const Answer answer = site->manager.client().call(
      VMSRS_CALL_MGMT_LABEL, site->manager.token(), site->server, user_number % VMSRS_MAX_USERS,
      user_number / VMSRS_MAX_USERS - 1, address_of(text), sizeof text);
  return answer.status == VMSRS_OK ? std::string(text, answer.rdx) : kNoSuchUser;
}

std::vector<vmsrs_event> take_events() {
  std::vector<vmsrs_event> all;
  for (std::uint64_t cursor = 0;;) {
    vmsrs_event page[16];
    const Answer answer = site->manager.client().call(VMSRS_CALL_MGMT_EVENTS, site->manager.token(),
                                                      cursor, address_of(page), sizeof page);
    BOOST_REQUIRE_EQUAL(answer.status, VMSRS_OK);
    if (answer.rdx == 0) return all;
    all.insert(all.end(), page, page + answer.rdx);
    cursor = answer.rsi;
    BOOST_REQUIRE_EQUAL(
        site->manager.client()
            .call(VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, site->manager.token(), cursor - 1)
            .status,
        VMSRS_OK);
  }
}

vmsrs_server_info server_info() { return site->manager.info(site->server); }

void leave_behind(const char* name, std::uint64_t value, std::uint64_t rest) {
  {
    Client other(site->hosted.socket());
    BOOST_REQUIRE_EQUAL(other.attach(kServerName, kServerSecret).status, VMSRS_OK);
    vmsrs_status status;
    auto* const page =
        reinterpret_cast<std::uint64_t*>(other.take_memory(VMSRS_PAGE_BYTES, status));
    BOOST_REQUIRE(page != nullptr);
    for (std::size_t i = 0; i < VMSRS_PAGE_BYTES / 8; ++i) page[i] = rest;
    BOOST_REQUIRE_EQUAL(other.profile_named(page, VMSRS_PAGE_BYTES, name).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(other.call(VMSRS_CALL_USER_BEGIN).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(other.call(VMSRS_CALL_STORE, address_of(page), value, 8).status, VMSRS_OK);
    BOOST_REQUIRE_EQUAL(other.call(VMSRS_CALL_USER_END).status, VMSRS_OK);
  }
  BOOST_REQUIRE(site->manager.is_detached(site->server));
}

int fork_between_calls() { return fork(); }

std::string SecretFile::good_content() { return hex(kServerSecret) + "\n"; }

}  // namespace vmsrs::test

namespace vmsrs::guest {

CallResult platform_call(vmsrs_call number, const CallArguments& arguments) {
  const bool by_service_thread = number == VMSRS_CALL_SERVICE || number == VMSRS_CALL_REPORT_HEAPS;
  if (!by_service_thread) test::seam.call_count.fetch_add(1);
  return hosted::call(number, arguments);
}

int probe_platform() {
  char problem[256];
  BOOST_REQUIRE_MESSAGE(hosted::connect(problem, sizeof problem), problem);
  return hosted::check_version();
}

void abandon_calls() { hosted::abandon_calls(); }
const vmsrs_window* map_window(const char*, std::uint32_t server) {
  return hosted::map_window(server);
}
void unmap_window(const vmsrs_window* window) {
  munmap(const_cast<vmsrs_window*>(window), VMSRS_WINDOW_BYTES);
}
int prepare_region(void* address, std::size_t bytes) {
  return hosted::prepare_region(address, bytes, hosted::Content::kKept);
}
int prepare_sparse(void* address, std::size_t bytes) {
  return hosted::prepare_region(address, bytes, hosted::Content::kZeroes);
}
void forget_region() { hosted::forget_region(); }
Joined join_memory(std::uint64_t region, Part part, std::byte* wanted, std::byte*& at) {
  return hosted::join_memory(region, part, wanted, at);
}
std::byte* call_buffer(std::size_t& bytes) { return hosted::call_buffer(bytes); }
PlatformMemory platform_memory() { return hosted::platform_memory(); }

}  // namespace vmsrs::guest
