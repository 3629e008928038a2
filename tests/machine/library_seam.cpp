// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "control.hpp"
#include "fixture.hpp"
#include "guest.hpp"
#include "platform.hpp"

// The seam under the library's own tests inside a machine: the real one of the hypervisor, with a
// counter in front, and the hypervisor itself at its other end. What the hosted tests give each
// process anew is here one for all of a boot: each process of tests defines the server again, and
// what a process before it has left attached is dead.
namespace vmsrs::test {
namespace {

using Call = ::guest::Call;

struct Site {
  std::uint64_t token = ::guest::open_management();
  std::uint32_t server = static_cast<std::uint32_t>(::guest::define_server(token, kServerName));
};
Site* site;

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

// Of the management, or made without the library: the status; `call` gets the results.
std::uint64_t call_to_end(Call& call) {
  for (;;) {
    Call attempt = call;
    const std::uint64_t status = ::guest::hypercall(attempt);
    if (status == VMSRS_AGAIN) continue;
    call = attempt;
    return status;
  }
}

vmsrs_status reap(std::uint32_t process) {
  Call call{
      .number = VMSRS_CALL_MGMT_REAP, .rdi = site->token, .rsi = site->server, .rdx = process};
  return static_cast<vmsrs_status>(call_to_end(call));
}

// What an earlier process of the server does in its own address space; it ends without a word.
int live_and_die(const char* name, std::uint64_t value, std::uint64_t rest) {
  alignas(VMSRS_PAGE_BYTES) static std::uint64_t page[VMSRS_PAGE_BYTES / 8];
  for (std::uint64_t& word : page) word = rest;
  vmsrs_attach_request request{};
  std::strcpy(request.name, kServerName);
  std::memcpy(request.secret, ::guest::kSecret, sizeof request.secret);
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = static_cast<std::uint32_t>(getpid());
  char text[VMSRS_NAME_BYTES] = {};
  std::strncpy(text, name, sizeof text - 1);
  Call attach{.number = VMSRS_CALL_ATTACH, .rdi = address_of(&request)};
  Call profile{.number = VMSRS_CALL_PROFILE_NAMED,
               .rdi = address_of(page),
               .rsi = sizeof page,
               .rdx = 8,
               .r10 = address_of(text)};
  if (call_to_end(attach) != VMSRS_OK || call_to_end(profile) != VMSRS_OK) return 1;
  Call fill{.number = VMSRS_CALL_PROFILE_FILL, .rdi = profile.rdx};
  Call begin{.number = VMSRS_CALL_USER_BEGIN};
  Call store{.number = VMSRS_CALL_STORE, .rdi = address_of(page), .rsi = value, .rdx = 8};
  Call end{.number = VMSRS_CALL_USER_END};
  for (Call* each : {&fill, &begin, &store, &end})
    if (call_to_end(*each) != VMSRS_OK) return 1;
  return 0;
}

}  // namespace

void start_engine() {
  if (site != nullptr) return;
  site = new Site;
  const vmsrs_server_info info = server_info();
  for (std::uint32_t i = 0; i < info.process_count; ++i)
    BOOST_REQUIRE_EQUAL(reap(info.process_ids[i]), VMSRS_OK);
}

void check_invariants() {
  vmsrs_check_report report{};
  std::uint64_t status = VMSRS_AGAIN;
  for (unsigned round = 0; round < 2000 && status == VMSRS_AGAIN; ++round) {
    if (round > 0 && report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    Call call{.number = VMSRS_CALL_MGMT_CHECK,
              .rdi = site->token,
              .rsi = round == 0,
              .rdx = address_of(&report),
              .r10 = sizeof report};
    status = ::guest::hypercall(call);
  }
  BOOST_CHECK_EQUAL(status, VMSRS_OK);
  for (unsigned i = 0; i < VMSRS_CHECK_COUNT; ++i)
    BOOST_CHECK_MESSAGE(report.results[i].verdict == VMSRS_VERDICT_OK,
                        "invariant " << i << ": verdict " << report.results[i].verdict
                                     << ", detail " << report.results[i].detail);
}

void suppress_as_operator(std::uint64_t user_number) {
  Call call{.number = VMSRS_CALL_MGMT_SUPPRESS,
            .rdi = site->token,
            .rsi = site->server,
            .rdx = user_number % VMSRS_MAX_USERS,
            .r10 = user_number / VMSRS_MAX_USERS - 1};
  BOOST_CHECK_EQUAL(call_to_end(call), VMSRS_OK);
}

void contain_as_operator(std::uint32_t mode) {
  Call call{
      .number = VMSRS_CALL_MGMT_CONTAINMENT, .rdi = site->token, .rsi = site->server, .rdx = mode};
  BOOST_CHECK_EQUAL(call_to_end(call), VMSRS_OK);
}

std::string label_seen(std::uint64_t user_number) {
  char text[VMSRS_LABEL_BYTES] = {};
  Call call{.number = VMSRS_CALL_MGMT_LABEL,
            .rdi = site->token,
            .rsi = site->server,
            .rdx = user_number % VMSRS_MAX_USERS,
            .r10 = user_number / VMSRS_MAX_USERS - 1,
            .r8 = address_of(text),
            .r9 = sizeof text};
  return call_to_end(call) == VMSRS_OK ? std::string(text, call.rdx) : kNoSuchUser;
}

std::vector<vmsrs_event> take_events() {
  std::vector<vmsrs_event> all;
  for (std::uint64_t cursor = 0;;) {
    vmsrs_event page[16];
    Call call{.number = VMSRS_CALL_MGMT_EVENTS,
              .rdi = site->token,
              .rsi = cursor,
              .rdx = address_of(page),
              .r10 = sizeof page};
    BOOST_REQUIRE_EQUAL(call_to_end(call), VMSRS_OK);
    if (call.rdx == 0) return all;
    all.insert(all.end(), page, page + call.rdx);
    cursor = call.rsi;
    Call safe{.number = VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, .rdi = site->token, .rsi = cursor - 1};
    BOOST_REQUIRE_EQUAL(call_to_end(safe), VMSRS_OK);
  }
}

vmsrs_server_info server_info() {
  vmsrs_server_info info{};
  Call call{.number = VMSRS_CALL_MGMT_SERVER,
            .rdi = site->token,
            .rsi = site->server,
            .rdx = address_of(&info),
            .r10 = sizeof info};
  BOOST_CHECK_EQUAL(call_to_end(call), VMSRS_OK);
  return info;
}

void leave_behind(const char* name, std::uint64_t value, std::uint64_t rest) {
  const pid_t child = fork();
  if (child == 0) _exit(live_and_die(name, value, rest));
  int status = -1;
  BOOST_REQUIRE_EQUAL(waitpid(child, &status, 0), child);
  BOOST_REQUIRE_EQUAL(status, 0);
  BOOST_REQUIRE_EQUAL(reap(static_cast<std::uint32_t>(child)), VMSRS_OK);
}

int fork_between_calls() { return fork(); }

std::string SecretFile::good_content() {
  std::string text;
  for (std::size_t i = 0; i < VMSRS_SECRET_BYTES; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(::guest::kSecret[i]));
    text += digits;
  }
  return text + "\n";
}

}  // namespace vmsrs::test

namespace vmsrs::guest {

CallResult platform_call(vmsrs_call number, const CallArguments& arguments) {
  if (void (*before)(std::uint64_t) = test::seam.before_call.load()) before(number);
  const bool by_service_thread = number == VMSRS_CALL_SERVICE || number == VMSRS_CALL_REPORT_HEAPS;
  if (!by_service_thread) test::seam.call_count.fetch_add(1);
  return svm::call(number, arguments);
}

int probe_platform() {
  BOOST_REQUIRE_MESSAGE(svm::is_there(), "no VMSRS hypervisor below this Linux");
  return svm::check_version();
}

void abandon_calls() {}
const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server) {
  return svm::map_window(windows_directory, server);
}
void unmap_window(const vmsrs_window* window) {
  munmap(const_cast<vmsrs_window*>(window), VMSRS_WINDOW_BYTES);
}
int prepare_region(void* address, std::size_t bytes) { return svm::prepare_region(address, bytes); }
int prepare_sparse(void*, std::size_t) { return 0; }
void forget_region() {}
Joined join_memory(std::uint64_t, Part, std::byte*, std::byte*&) { return svm::join_memory(); }
std::byte* call_buffer(std::size_t&) { return nullptr; }
PlatformMemory platform_memory() { return {}; }

}  // namespace vmsrs::guest
