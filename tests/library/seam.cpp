// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "call.hpp"
#include "control.hpp"
#include "error.hpp"
#include "fixture.hpp"
#include "monitor/monitor.hpp"
#include "monitor/sha256.hpp"
#include "protection_key.hpp"
#include "support/host_memory.hpp"
#include "support/host_platform.hpp"

// The library's seam for tests: a call is monitor::dispatch in this process. What makes it a fair
// picture of a hypercall: no signal interrupts it; the calling thread is known by its FS base;
// memory is looked up page by page, and a page that is not there, or may not be written, is named
// and never faults; the window is one memory mapped twice, read-only on the library's side.
namespace vmsrs::test {

namespace {

constexpr std::uint64_t kAddressSpace = 0x1000;
constexpr std::size_t kStorageBytes = 64u << 20;
constexpr std::uint8_t kServerSecret[VMSRS_SECRET_BYTES] = {0xa5, 1, 2, 3};
constexpr std::uint8_t kManagementSecret[VMSRS_SECRET_BYTES] = {0x5a, 9, 8, 7};

class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// This process's own memory, as far as it may be accessed.
class ProcessMemory final : public recovery::GuestMemory {
 public:
  recovery::MemoryOutcome prepare(recovery::GuestVirtual address, std::size_t bytes,
                                  recovery::Access access) override {
    const recovery::MemoryOutcome outcome = look(address, bytes, access);
    return outcome ? memory_.prepare(address, bytes, access) : outcome;
  }
  recovery::MemoryOutcome read(recovery::GuestVirtual address, void* to,
                               std::size_t bytes) override {
    const recovery::MemoryOutcome outcome = look(address, bytes, recovery::Access::kRead);
    return outcome ? memory_.read(address, to, bytes) : outcome;
  }
  recovery::MemoryOutcome write(recovery::GuestVirtual address, const void* from,
                                std::size_t bytes) override {
    const recovery::MemoryOutcome outcome = look(address, bytes, recovery::Access::kWrite);
    return outcome ? memory_.write(address, from, bytes) : outcome;
  }
  recovery::MemoryOutcome map(recovery::GuestVirtual address, std::size_t bytes,
                              recovery::Access access, std::uint8_t*& at) override {
    at = reinterpret_cast<std::uint8_t*>(value(address));
    return prepare(address, bytes, access);
  }
  std::size_t mapped_pages() const override { return memory_.mapped_pages(); }
  recovery::MemoryOutcome compare(recovery::GuestVirtual address, const void* with,
                                  std::size_t bytes, std::size_t& same) override {
    const recovery::MemoryOutcome outcome = look(address, bytes, recovery::Access::kRead);
    return outcome ? memory_.compare(address, with, bytes, same) : outcome;
  }

 private:
  recovery::MemoryOutcome look(recovery::GuestVirtual address, std::size_t bytes,
                               recovery::Access access) {
    const std::uint64_t first = value(address);
    if (first + bytes > 0x7fff'ffff'f000u || first + bytes < first)
      return {recovery::MemoryResult::kBadAddress, address};
    for (std::uint64_t at = first & ~4095ull; at < first + bytes; at += 4096) {
      const int advice =
          access == recovery::Access::kWrite ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
      const recovery::GuestVirtual where{at > first ? at : first};
      if (madvise(reinterpret_cast<void*>(at), 4096, advice) != 0)
        return {recovery::MemoryResult::kTouch, where};
      if (touch_in_ > 0 && --touch_in_ == 0) {
        seam.touch_count.fetch_add(1);
        return {recovery::MemoryResult::kTouch, where};
      }
    }
    // What was promised must hold for the rest of the call.
    touch_in_ = 0;
    return {};
  }
  // At which page of the first look of this call to say "not present"; 0: never.
  static std::uint32_t next_touch() {
    static std::atomic<std::uint32_t> calls{0};
    const std::uint32_t every = seam.touch_every.load();
    const std::uint32_t call = every == 0 ? 0 : calls.fetch_add(1);
    return every != 0 && call % every == 0 ? 1 + call / every % 3 : 0;
  }
  HostMemory memory_;
  std::uint32_t touch_in_ = next_touch();
};

struct Engine {
  HostPlatform platform;
  int window_file = -1;
  std::uint64_t token = 0;
  std::uint32_t server = 0;
};
Engine* engine;

// A child must not inherit a lock of the engine that another thread holds.
pthread_rwlock_t fork_gate = PTHREAD_RWLOCK_INITIALIZER;

guest::CallResult dispatch(std::uint64_t number, const guest::CallArguments& a,
                           std::uint64_t address_space = kAddressSpace) {
  const AllSignalsBlocked blocked;
  const guest::StoresAllowed allowed(guest::strict_key());  // they are the library's, not its own
  if (void (*before)(std::uint64_t) = seam.before_call.load()) before(number);
  const bool by_service_thread = number == VMSRS_CALL_SERVICE || number == VMSRS_CALL_REPORT_HEAPS;
  if (!by_service_thread) seam.call_count.fetch_add(1);
  ProcessMemory memory;
  std::uint64_t thread = 0;
  asm("mov %%fs:0, %0" : "=r"(thread));
  const monitor::Caller caller = {address_space, thread, 3, &memory};
  monitor::CallRegisters registers = {number, a.rdi, a.rsi, a.rdx, a.r10, a.r8, a.r9};
  pthread_rwlock_rdlock(&fork_gate);
  seam.no_engine.load() ? monitor::dispatch_without_engine(caller, registers)
                        : monitor::dispatch(caller, registers);
  pthread_rwlock_unlock(&fork_gate);
  return {registers.rax, registers.rdx, registers.rsi};
}

}  // namespace

// In a child: its copy of the engine must not write to the parent's window.
void take_own_window() {
  void* const written = engine->platform.window(0);
  const int file = memfd_create("windows", MFD_CLOEXEC);
  if (write(file, written, VMSRS_WINDOW_BYTES) != VMSRS_WINDOW_BYTES) std::abort();
  mmap(written, VMSRS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  if (const vmsrs_window* seen = guest::attached_window())
    mmap(const_cast<vmsrs_window*>(seen), VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED,
         file, 0);
  engine->window_file = file;
}

pid_t fork_between_calls() {
  pthread_rwlock_wrlock(&fork_gate);
  const pid_t child = fork();
  if (child == 0) {  // a thread that waited for the gate is not here to take it
    pthread_rwlock_init(&fork_gate, nullptr);
    take_own_window();
  } else {
    pthread_rwlock_unlock(&fork_gate);
  }
  return child;
}

void start_engine() {
  if (engine != nullptr) return;
  engine = new Engine;
  monitor::MonitorConfig config{};
  config.has_secret = true;
  monitor::sha256(kManagementSecret, sizeof kManagementSecret, config.secret_hash);
  void* storage =
      mmap(nullptr, kStorageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  engine->window_file = memfd_create("windows", MFD_CLOEXEC);
  BOOST_REQUIRE(ftruncate(engine->window_file, VMSRS_WINDOW_BYTES) == 0);
  void* window =
      mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, engine->window_file, 0);
  for (std::uint32_t server = 0; server < VMSRS_MAX_SERVERS; ++server)
    engine->platform.set_window(server, server == 0 ? static_cast<vmsrs_window*>(window) : nullptr);
  BOOST_REQUIRE(monitor::initialise(engine->platform, storage, kStorageBytes, config));

  const guest::CallResult open =
      dispatch(VMSRS_CALL_MGMT_OPEN, {.rdi = reinterpret_cast<std::uint64_t>(kManagementSecret),
                                      .rsi = VMSRS_OBSERVE | VMSRS_OPERATE});
  BOOST_REQUIRE_EQUAL(open.status, VMSRS_OK);
  engine->token = open.first;
  vmsrs_server_definition definition{};
  std::strcpy(definition.name, kServerName);
  monitor::sha256(kServerSecret, sizeof kServerSecret, definition.secret_hash);
  const guest::CallResult define =
      dispatch(VMSRS_CALL_MGMT_DEFINE,
               {.rdi = engine->token, .rsi = reinterpret_cast<std::uint64_t>(&definition)});
  BOOST_REQUIRE_EQUAL(define.status, VMSRS_OK);
  BOOST_REQUIRE_EQUAL(define.first, 0u);
}

void leave_behind(const char* name, std::uint64_t value, std::uint64_t rest) {
  constexpr std::uint64_t kOtherSpace = 0x2000;
  constexpr std::uint32_t kOtherProcess = 999;
  alignas(VMSRS_PAGE_BYTES) static std::uint64_t page[VMSRS_PAGE_BYTES / 8];
  for (std::uint64_t& word : page) word = rest;
  const auto call = [](std::uint64_t number, const guest::CallArguments& arguments) {
    const guest::CallResult result = dispatch(number, arguments, kOtherSpace);
    BOOST_REQUIRE_EQUAL(result.status, VMSRS_OK);
    return result.first;
  };
  const auto address_of = [](const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  };
  vmsrs_attach_request request{};
  std::strcpy(request.name, kServerName);
  std::memcpy(request.secret, kServerSecret, sizeof request.secret);
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = kOtherProcess;
  call(VMSRS_CALL_ATTACH, {.rdi = address_of(&request)});
  char text[VMSRS_NAME_BYTES] = {};
  std::strcpy(text, name);
  const std::uint64_t region =
      call(VMSRS_CALL_PROFILE_NAMED,
           {.rdi = address_of(page), .rsi = sizeof page, .rdx = 8, .r10 = address_of(text)});
  call(VMSRS_CALL_PROFILE_FILL, {.rdi = region});
  call(VMSRS_CALL_USER_BEGIN, {});
  call(VMSRS_CALL_STORE, {.rdi = address_of(page), .rsi = value, .rdx = 8});
  call(VMSRS_CALL_USER_END, {});
  guest::CallResult reaped{VMSRS_AGAIN};
  while (reaped.status == VMSRS_AGAIN)
    reaped = dispatch(VMSRS_CALL_MGMT_REAP,
                      {.rdi = engine->token, .rsi = engine->server, .rdx = kOtherProcess});
  BOOST_REQUIRE_EQUAL(reaped.status, VMSRS_OK);
}

std::vector<vmsrs_event> take_events() {
  std::vector<vmsrs_event> all;
  for (std::uint64_t cursor = 0;;) {
    vmsrs_event page[16];
    const guest::CallResult result =
        dispatch(VMSRS_CALL_MGMT_EVENTS, {.rdi = engine->token,
                                          .rsi = cursor,
                                          .rdx = reinterpret_cast<std::uint64_t>(page),
                                          .r10 = sizeof page});
    BOOST_REQUIRE_EQUAL(result.status, VMSRS_OK);
    if (result.first == 0) return all;
    all.insert(all.end(), page, page + result.first);
    cursor = result.second;
    const guest::CallResult acknowledged =
        dispatch(VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS, {.rdi = engine->token, .rsi = cursor - 1});
    BOOST_REQUIRE_EQUAL(acknowledged.status, VMSRS_OK);
  }
}

vmsrs_server_info server_info() {
  vmsrs_server_info info{};
  const guest::CallResult result =
      dispatch(VMSRS_CALL_MGMT_SERVER, {.rdi = engine->token,
                                        .rsi = engine->server,
                                        .rdx = reinterpret_cast<std::uint64_t>(&info),
                                        .r10 = sizeof info});
  BOOST_CHECK_EQUAL(result.status, VMSRS_OK);
  return info;
}

void suppress_as_operator(std::uint64_t user_number) {
  const guest::CallResult result =
      dispatch(VMSRS_CALL_MGMT_SUPPRESS, {.rdi = engine->token,
                                          .rsi = engine->server,
                                          .rdx = user_number % VMSRS_MAX_USERS,
                                          .r10 = user_number / VMSRS_MAX_USERS - 1});
  BOOST_CHECK_EQUAL(result.status, VMSRS_OK);
}

void contain_as_operator(std::uint32_t mode) {
  const guest::CallResult result = dispatch(
      VMSRS_CALL_MGMT_CONTAINMENT, {.rdi = engine->token, .rsi = engine->server, .rdx = mode});
  BOOST_CHECK_EQUAL(result.status, VMSRS_OK);
}

std::string label_seen(std::uint64_t user_number) {
  char text[VMSRS_LABEL_BYTES];
  const guest::CallResult result =
      dispatch(VMSRS_CALL_MGMT_LABEL, {.rdi = engine->token,
                                       .rsi = engine->server,
                                       .rdx = user_number % VMSRS_MAX_USERS,
                                       .r10 = user_number / VMSRS_MAX_USERS - 1,
                                       .r8 = reinterpret_cast<std::uint64_t>(text),
                                       .r9 = sizeof text});
  return result.status == VMSRS_OK ? std::string(text, result.first) : kNoSuchUser;
}

// The service thread compares region and mirror meanwhile, for the engine cannot by itself.
void check_invariants() {
  vmsrs_check_report report{};
  guest::CallResult result;
  for (unsigned round = 0; round < 500; ++round) {
    result = dispatch(VMSRS_CALL_MGMT_CHECK, {.rdi = engine->token,
                                              .rsi = round == 0 ? 1u : 0u,
                                              .rdx = reinterpret_cast<std::uint64_t>(&report),
                                              .r10 = sizeof report});
    if (result.status != VMSRS_AGAIN) break;
    if (report.results[VMSRS_CHECK_STORAGE].verdict != VMSRS_VERDICT_PENDING)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  BOOST_CHECK_EQUAL(result.status, VMSRS_OK);
  for (unsigned i = 0; i < VMSRS_CHECK_COUNT; ++i)
    BOOST_CHECK_MESSAGE(report.results[i].verdict == VMSRS_VERDICT_OK,
                        "invariant " << i << ": verdict " << report.results[i].verdict
                                     << ", detail " << report.results[i].detail);
}

std::string SecretFile::good_content() {
  std::string text;
  for (const std::uint8_t byte : kServerSecret) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text + "\n";
}

}  // namespace vmsrs::test

// The seam itself.
namespace vmsrs::guest {

CallResult platform_call(vmsrs_call number, const CallArguments& arguments) {
  test::stop_single_stepping();  // a call is one step
  return test::dispatch(number, arguments);
}

int probe_platform() { return 0; }

const vmsrs_window* map_window(const char*, std::uint32_t server) {
  if (server != 0) {
    fail(VMSRS_ERROR_CONFIGURATION, "no window for server %u", server);
    return nullptr;
  }
  void* address =
      mmap(nullptr, VMSRS_WINDOW_BYTES, PROT_READ, MAP_SHARED, test::engine->window_file, 0);
  return address == MAP_FAILED ? nullptr : static_cast<const vmsrs_window*>(address);
}

void unmap_window(const vmsrs_window* window) {
  munmap(const_cast<vmsrs_window*>(window), VMSRS_WINDOW_BYTES);
}

void abandon_calls() {}
int prepare_region(void*, std::size_t) { return 0; }
int prepare_sparse(void*, std::size_t) { return 0; }
void forget_region() {}
Joined join_memory(std::uint64_t, Part, std::byte*, std::byte*&) { return Joined::kNone; }
std::byte* call_buffer(std::size_t& bytes) {
  if (test::seam.without_call_buffer.load()) return nullptr;
  alignas(64) static thread_local std::byte buffer[VMSRS_MAX_RANGE_BYTES];
  bytes = sizeof buffer;
  return buffer;
}
PlatformMemory platform_memory() { return {}; }

}  // namespace vmsrs::guest
