// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include "probe.hpp"
#include "support/machine.hpp"

namespace vmsrs::test {

constexpr std::uint64_t kServerSpace = 0x100000;
constexpr std::uint32_t kServerProcess = 4711;
constexpr std::uint64_t kManagerSpace = 0x900000;

// A machine with one server, "shop", one live region and some of its threads.
template <unsigned Granule = 16, std::size_t Bytes = 2 * VMSRS_PAGE_BYTES>
struct OneServer {
  Machine machine;
  Client manager{kManagerSpace, 0x9000, 0};
  Client a = thread(0xa000), b = thread(0xb000), c = thread(0xc000), service = thread(0xd000);
  std::uint64_t token = 0;
  alignas(VMSRS_PAGE_BYTES) std::uint8_t memory[Bytes];

  explicit OneServer(bool eager = false) {
    for (std::size_t i = 0; i < Bytes; ++i) memory[i] = static_cast<std::uint8_t>(i);
    token = manager.open().rdx;
    (void)manager.define(token, "shop", secret_of(1));
    (void)a.attach("shop", secret_of(1), kServerProcess);
    (void)a.profile(memory, Bytes, Granule, eager);
  }

  static Client thread(std::uint64_t id) { return Client(kServerSpace, id); }
  static vmsrs_status begin(Client& user) { return user.call(VMSRS_CALL_USER_BEGIN, 7).status; }
  static vmsrs_status end(Client& user) { return user.call(VMSRS_CALL_USER_END).status; }
  static vmsrs_status collect(Client& user) { return user.call(VMSRS_CALL_USER_COLLECT).status; }
  // To the end point and collected.
  static void bury(Client& user) {
    (void)end(user);
    while (collect(user) == VMSRS_AGAIN) {
    }
  }
  vmsrs_status store(Client& user, std::size_t at, std::uint64_t value, unsigned bytes = 8) {
    return user.call(VMSRS_CALL_STORE, address_of(memory + at), value, bytes).status;
  }
  std::uint64_t load(Client& user, std::size_t at, unsigned bytes = 8) {
    return user.call(VMSRS_CALL_LOAD, address_of(memory + at), bytes).rdx;
  }
  std::uint64_t word(std::size_t at) const {
    std::uint64_t word;
    std::memcpy(&word, memory + at, sizeof word);
    return word;
  }
  std::uint64_t mirror(std::size_t at) const {
    std::uint64_t word;
    std::memcpy(&word, recovery::EngineProbe::ledger(0).regions[0].mirror + at, sizeof word);
    return word;
  }
  recovery::Ledger& ledger() const { return recovery::EngineProbe::ledger(0); }
  const vmsrs_window& window() { return *machine.platform.window(0); }
  std::uint64_t mode() { return window().status.mode; }
  bool suppressing() { return (mode() & VMSRS_MODE_SUPPRESSION) != 0; }

  vmsrs_server_info info() {
    vmsrs_server_info out{};
    (void)manager.call(VMSRS_CALL_MGMT_SERVER, token, 0, address_of(&out), sizeof out);
    return out;
  }
  // All that management and crashes have asked the server's service thread for.
  void serve() {
    for (;;) {
      const Result result = service.call(VMSRS_CALL_SERVICE);
      if (result.status == VMSRS_DRAIN)
        (void)report_drained(service, result.rdx, result.rsi);
      else if (result.status != VMSRS_AGAIN)
        return;
    }
  }
  static vmsrs_status report_drained(Client& by, std::uint64_t slot, std::uint64_t epoch) {
    for (;;)
      if (const Result result = by.call(VMSRS_CALL_USER_DRAINED, slot, epoch);
          result.status != VMSRS_AGAIN)
        return result.status;
  }
  // A whole check, the server's service thread answering.
  vmsrs_check_report check() {
    vmsrs_check_report report{};
    manager.check(token, report, [this] { serve(); });
    return report;
  }
  bool sound() {
    const vmsrs_check_report report = check();
    for (const vmsrs_check_result& result : report.results)
      if (result.verdict != VMSRS_VERDICT_OK) return false;
    return true;
  }
};

}  // namespace vmsrs::test
