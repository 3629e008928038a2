// SPDX-License-Identifier: Apache-2.0
#include "bank.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>
#include <vmsrs/vmsrs.hpp>

#include "kinds.hpp"

namespace matrix {

namespace {

constexpr std::size_t kPageBytes = 4096, kHeapBytes = 64 * 1024;
constexpr std::size_t kBufferBytes = 3000;
constexpr std::uint64_t kPollution = 0xbad0'0000;
constexpr const char* kRegion = "bank";
constexpr unsigned kTurnsOfOthers = 2 * kClients;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "matrix: %s: %s\n", what, vmsrs_error_message());
  std::_Exit(1);
}

void* map_shared(std::size_t bytes) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  return memory;
}

// The server before this one may have been killed a moment ago.
template <typename Try>
int patiently(Try attempt) {
  int result = attempt();
  for (unsigned i = 0; i < 5000 && result == VMSRS_ERROR_STATE; ++i, result = attempt())
    usleep(1000);
  return result;
}

std::uint64_t crashes_at(std::span<const vmsrs_crash_site> sites, const vmsrs_crash_site& site) {
  for (const vmsrs_crash_site& known : sites)
    if (known.instruction == site.instruction) return known.crashes;
  return 0;
}

// What the library has noted of crashes since `this` was made.
class CrashesSince {
 public:
  CrashesSince() : count_(vmsrs_crash_sites(before_, kMost)) {}
  void tell(Reply& reply) const {
    vmsrs_crash_site after[kMost];
    const std::size_t count = vmsrs_crash_sites(after, kMost);
    for (const vmsrs_crash_site& site : std::span(after, count)) {
      const std::uint64_t more = site.crashes - crashes_at({before_, count_}, site);
      reply.crashes += more;
      if (more != 0) reply.fault = site.fault;
    }
  }

 private:
  static constexpr std::size_t kMost = 24;
  vmsrs_crash_site before_[kMost];
  std::size_t count_;
};

}  // namespace

// Two granules, for two words of each are stored to one by one.
struct alignas(64) Bank::Account {
  std::uint64_t words[kWords];
};

// Not profiled: locks are nobody's to restore.
struct Bank::Beside {
  pthread_mutex_t locks[kClients + 1];
  std::atomic<std::uint64_t> served;  // requests of normal clients
};

// Locks of a request, in ascending order. let_go() is called in the fault handler too.
class Bank::Held {
 public:
  explicit Held(Beside& beside) : beside_(beside) {}
  ~Held() { let_go(); }
  void take(std::size_t number) {
    pthread_mutex_lock(&beside_.locks[number]);
    held_[number] = true;
  }
  void let_go() {
    for (std::size_t i = 0; i <= kClients; ++i) {
      if (!held_[i]) continue;
      held_[i] = false;
      pthread_mutex_unlock(&beside_.locks[i]);
    }
  }

 private:
  Beside& beside_;
  volatile bool held_[kClients + 1] = {};
};

Bank::Bank(const ServerOptions& options, unsigned processes)
    : options_(options), processes_(processes) {
  static_assert((kClients + 1) * sizeof(Account) <= kPageBytes);
  const std::size_t bytes = kPageBytes + (processes + 1) * kHeapBytes;
  // Private: it becomes shared when it is profiled, where the platform shares at all.
  region_ = static_cast<std::byte*>(
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  accounts_ = reinterpret_cast<Account*>(region_);
  beside_ = static_cast<Beside*>(map_shared(sizeof(Beside)));
  pthread_mutexattr_t shared;
  pthread_mutexattr_init(&shared);
  pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  for (pthread_mutex_t& lock : beside_->locks) pthread_mutex_init(&lock, &shared);
  attach();
  const vmsrs_profile_options how = {.name = processes > 1 ? kRegion : nullptr, .eager = false};
  if (patiently([&] {
        if (how.name != nullptr) unprofile_named(how.name);  // kept from a server that has died
        return vmsrs_profile(region_, bytes, 32, &how);
      }) != VMSRS_PROFILED_NEW)
    die("vmsrs_profile");
  if (processes == 1) make_heap(0);
}

void Bank::attach() {
  vmsrs_options options{};
  options.server_name = options_.server_name.c_str();
  options.secret_file = options_.secret_file.c_str();
  options.suppression_limit_ms = options_.limit_ms;
  options.fault_limit = options_.fault_limit;
  options.trap_every_store = options_.trap_every_store;
  options.site_crash_limit = options.crash_limit = UINT32_MAX;  // it is here to crash
  if (patiently([&] { return vmsrs_attach(&options); }) != 0) die("vmsrs_attach");
}

void Bank::join(unsigned number) {
  attach();
  if (vmsrs_profile_join(kRegion, region_, nullptr, nullptr) != 0) die("vmsrs_profile_join");
  make_heap(number);
}

void Bank::make_heap(unsigned number) {
  std::byte* const heap = region_ + kPageBytes + number * kHeapBytes;
  if (vmsrs_heap_create(heap, kHeapBytes, false) == nullptr) die("vmsrs_heap_create");
}

void Bank::start(bool others_are_served) {
  others_are_served_ = others_are_served;
  std::thread([this] { watch(); }).detach();
}

// A request that is still there half a limit later counts as stuck.
void Bank::watch() {
  for (std::uint64_t before = 0;;) {
    usleep(options_.limit_ms * 500);
    const std::uint64_t now = suspect_;
    if (now != 0 && now == before) vmsrs_user_suppress(now);
    before = now;
  }
}

Reply Bank::serve(const Request& request) {
  const std::vector<std::byte> buffer(kBufferBytes);  // as servers have: the thread needs its arena
  asm volatile("" : : "r"(buffer.data()) : "memory");
  if (request.order == Order::fail) return fail(request.number);
  const Reply reply = request.order == Order::write  ? write(request.number, request.value)
                      : request.order == Order::read ? read(request.number)
                                                     : ledger();
  ++beside_->served;
  return reply;
}

Reply Bank::write(std::uint64_t number, std::uint64_t value) {
  Reply reply{};
  Held held(*beside_);
  reply.outcome = vmsrs::run_user(
      number,
      [&] {
        held.take(number);
        held.take(kClients);
        for (std::uint64_t& word : accounts_[number].words) vmsrs::store(&word, value);
        std::uint64_t& count = accounts_[kClients].words[0];
        vmsrs::store(&count, vmsrs::load(&count) + 1);
      },
      [&] { held.let_go(); });
  return reply;
}

Reply Bank::read(std::uint64_t number) {
  Reply reply{};
  Held held(*beside_);
  reply.outcome = vmsrs::run_user(
      number,
      [&] {
        held.take(number);
        for (std::size_t i = 0; i < kWords; ++i)
          reply.values[i] = vmsrs::load(&accounts_[number].words[i]);
      },
      [&] { held.let_go(); });
  return reply;
}

Reply Bank::ledger() {
  Reply reply{};
  Held held(*beside_);
  held.take(kClients);
  reply.values[0] = vmsrs::load(&accounts_[kClients].words[0]);
  return reply;
}

void Bank::pollute(std::uint64_t value) {
  for (std::size_t i = 0; i <= kClients; ++i)
    for (std::uint64_t& word : accounts_[i].words) vmsrs::store(&word, value);
}

// A crashed user that runs on gives the others a chance to look at what it has written.
void Bank::wait_for_others() const {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.limit_ms / 4);
  const std::uint64_t enough = beside_->served + kTurnsOfOthers;
  while (beside_->served < enough && std::chrono::steady_clock::now() < end) usleep(500);
}

// One that has all locks, writes to all that there is, goes wrong, and writes to all again.
Reply Bank::fail(std::uint64_t number) {
  Reply reply{};
  const Kind& kind = all_kinds()[number];
  const CrashesSince before;
  Held held(*beside_);
  volatile unsigned provoked = 0;
  bool went_on = false;
  reply.outcome = vmsrs::run_user(
      kClients + number,
      [&] {
        suspect_ = vmsrs_user_number();
        for (std::size_t i = 0; i <= kClients; ++i) held.take(i);
        if ((kind.traits & kNoFault) == 0) pollute(kPollution);
        kind.provoke({accounts_[kClients].words, kWords, &provoked});
        went_on = true;
        if ((kind.traits & kNoFault) != 0) return;
        // Not on this processor: nothing of it may be finished.
        if (!vmsrs_user_crashed()) crash_suppression_os(VMSRS_FAULT_CHECK, nullptr);
        pollute(kPollution + 1);
        if (others_are_served_) wait_for_others();
      },
      [&] { held.let_go(); });
  suspect_ = 0;
  reply.went_on = went_on;
  reply.provoked = provoked;
  before.tell(reply);
  return reply;
}

}  // namespace matrix
