// SPDX-License-Identifier: Apache-2.0
#include "hosted/connection.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "monitor/monitor.hpp"

namespace vmsrs::hosted {
namespace {

constexpr int kGreetingMs = 10'000;
constexpr std::uint64_t kLookNs = 2'000'000;
constexpr std::uint64_t kBuryNs = 200'000'000;
constexpr unsigned kMostRounds = 8192;  // with something to answer, before looking around
constexpr unsigned kTightRounds = 32;   // of looking at all lanes, for each look at the clock
// How long to look at idle lanes before sleeping: about what waking up costs both sides (30 us each
// on a virtual machine), and more where it has paid off. With less, calls come late because each of
// them wakes somebody, and so they never seem to come early.
constexpr std::uint64_t kLeastSpinNs = 50'000;
constexpr std::uint64_t kMostSpinNs = 1'000'000;

}  // namespace

Connection::Connection(int socket, std::uint64_t number, HostedPlatform& platform,
                       Accounts& accounts, RegionPlaces& places, int stop, int ended)
    : peer_(socket),
      number_(number),
      platform_(platform),
      accounts_(accounts),
      places_(places),
      stop_(stop),
      ended_bell_(ended),
      calls_(platform, places, number, static_cast<std::uint32_t>(peer_.process_id())),
      spin_ns_(kMostSpinNs) {}

Connection::~Connection() {
  if (thread_.joinable()) thread_.join();
  if (doorbell_ >= 0) close(doorbell_);
}

void Connection::cut_off(const std::string& why) {
  std::fprintf(stderr, "vmsrs-hosted: cut off %s: %s\n", peer_.name().c_str(), why.c_str());
  ended_ = true;
}

void Connection::run() {
  if (greet()) serve();
  // Whatever it was in the middle of: each call of it was carried out whole, or not at all.
  if (monitor::end_address_space(number_))
    std::fprintf(stderr, "vmsrs-hosted: %s is gone: reaped, of server %u\n", peer_.name().c_str(),
                 calls_.server());
  calls_.memory().remove_all();
  accounts_.give_memory(peer_.account(), area_bytes_);
  over_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  if (write(ended_bell_, &one, sizeof one) < 0) return;  // it is ringing already
}

// HELLO and MAPPED: until then there are no lanes to look at.
bool Connection::greet() {
  const std::uint64_t deadline = platform_.now_ns() + std::uint64_t{kGreetingMs} * 1'000'000;
  while (!ended_ && calls_.client_base() == 0) {
    const std::uint64_t now = platform_.now_ns();
    if (now >= deadline) {
      cut_off("it said nothing for too long");
      break;
    }
    pollfd wanted[3] = {
        {peer_.socket(), POLLIN | POLLRDHUP, 0}, {peer_.process(), POLLIN, 0}, {stop_, POLLIN, 0}};
    poll(wanted, 3, static_cast<int>((deadline - now) / 1'000'000) + 1);
    if (wanted[1].revents != 0 || wanted[2].revents != 0) ended_ = true;
    if (!ended_) read_messages();
  }
  return !ended_;
}

void Connection::serve() {
  unsigned idle = 0, busy = 0;
  std::uint64_t idle_since = 0;
  while (!ended_) {
    if (calls_.serve_all() > 0) {
      idle = 0;
      // A client that never stops asking is looked after all the same.
      if (++busy % kMostRounds != 0) continue;
      look_around();
    }
    if (__atomic_load_n(&calls_.head().mail, __ATOMIC_RELAXED) != 0) look_around();
    if (calls_.serve_server()) {
      idle = 0;
      if (++busy % kMostRounds == 0) look_around();
      continue;
    }
    // Also because a look takes the line away from a client that is just filling it.
    __builtin_ia32_pause();
    if (++idle % kTightRounds != 0) continue;
    const std::uint64_t now = platform_.now_ns();
    if (idle == kTightRounds) idle_since = now;
    if (now - idle_since < spin_ns_) continue;
    sleep();
    idle = 0;
  }
}

void Connection::sleep() {
  calls_.count_calls();
  // An exchange, for its full barrier: a client that rings no more has been seen by serve_all.
  (void)__atomic_exchange_n(&calls_.head().asleep, 1u, __ATOMIC_SEQ_CST);
  if (calls_.serve_all() > 0) {
    __atomic_store_n(&calls_.head().asleep, 0u, __ATOMIC_RELAXED);
    return;
  }
  const std::uint64_t began = platform_.now_ns();
  pollfd wanted[4] = {{doorbell_, POLLIN, 0},
                      {peer_.socket(), POLLIN | POLLRDHUP, 0},
                      {peer_.process(), POLLIN, 0},
                      {stop_, POLLIN, 0}};
  const bool watches = same_process_ids_ && !calls_.lanes().in_use().empty();
  poll(wanted, 4, watches ? static_cast<int>(kBuryNs / 1'000'000) : -1);
  __atomic_store_n(&calls_.head().asleep, 0u, __ATOMIC_RELAXED);
  if (wanted[0].revents != 0) {
    std::uint64_t rings = 0;
    if (read(doorbell_, &rings, sizeof rings) < 0) rings = 0;  // the client may read it as well
    calls_.serve_all();
    const bool too_early = platform_.now_ns() - began < 4 * spin_ns_;
    spin_ns_ =
        too_early ? std::min(2 * spin_ns_, kMostSpinNs) : std::max(spin_ns_ / 2, kLeastSpinNs);
  }
  looked_ns_ = 0;
  look_around();
}

void Connection::look_around() {
  const std::uint64_t now = platform_.now_ns();
  if (__atomic_exchange_n(&calls_.head().mail, 0u, __ATOMIC_ACQ_REL) != 0) read_messages();
  if (now - looked_ns_ < kLookNs) return;
  looked_ns_ = now;
  calls_.refuse_strays();
  read_messages();
  pollfd stop = {stop_, POLLIN, 0};
  if (peer_.has_ended() || poll(&stop, 1, 0) > 0) ended_ = true;
  if (now - buried_ns_ < kBuryNs || ended_) return;
  buried_ns_ = now;
  bury_ended_threads();
}

void Connection::read_messages() {
  for (unsigned i = 0; i < 16 && !ended_; ++i) {
    vmsrs_hosted_message message;
    std::string why;
    switch (peer_.receive(message, why)) {
      case Peer::Receipt::kMessage:
        handle(message);
        break;
      case Peer::Receipt::kGarbage:
        cut_off(why);
        break;
      case Peer::Receipt::kEnd:
        ended_ = true;
        break;
      case Peer::Receipt::kNothing:
        return;
    }
  }
}

// A thread that ended by itself (a raw system call, a program's own clone) gave nothing back.
void Connection::bury_ended_threads() {
  if (!same_process_ids_) return;
  Lanes& lanes = calls_.lanes();
  std::uint64_t ended[8];
  unsigned count = 0;
  for (const std::uint32_t lane : lanes.in_use())
    if (count < std::size(ended) && peer_.thread_has_ended(lanes.owner(lane).thread_id))
      ended[count++] = lanes.owner(lane).thread;
  for (unsigned i = 0; i < count; ++i) {
    calls_.bury(ended[i]);
    lanes.give(ended[i]);
  }
}

}  // namespace vmsrs::hosted
