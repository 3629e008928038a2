// SPDX-License-Identifier: Apache-2.0
#include "recovery/engine.hpp"
#include "recovery/verdict.hpp"

// Runs the invariants of docs/invariants.md: `mirror` by threads of the servers, `hidden` and the
// six of the engine's own memory in pieces, one at each call, so that no user waits long for a
// check.
namespace vmsrs::recovery {

void Engine::begin_check() {
  checked_ = true;
  report_ = vmsrs_check_report{};
  checks_hidden_ = true;
  hidden_cursor_ = 0;
  pool_.begin_check();
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    const LockGuard guard(servers_[i].lock(), platform_);
    servers_[i].begin_check();
    servers_[i].request_comparison();
  }
}

bool Engine::check_piece() {
  if (checks_hidden_) {
    checks_hidden_ = platform_.check_hidden(hidden_cursor_, report_.results[VMSRS_CHECK_HIDDEN]);
    return true;
  }
  if (pool_.check_piece(report_.results[VMSRS_CHECK_STORAGE])) return true;
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    const LockGuard guard(servers_[i].lock(), platform_);
    if (servers_[i].check_piece(report_.results)) return true;
  }
  return false;
}

vmsrs_status Engine::check(bool anew, vmsrs_check_report& report) {
  const LockGuard table(table_lock_, platform_);
  if (anew) begin_check();
  if (!checked_) return VMSRS_WRONG_STATE;
  const bool checking = check_piece();
  report = report_;
  for (int i = VMSRS_CHECK_HIDDEN; i < VMSRS_CHECK_COUNT && checking; ++i)
    if (i != VMSRS_CHECK_MIRROR) report.results[i].verdict = VMSRS_VERDICT_PENDING;
  vmsrs_check_result& mirror = report.results[VMSRS_CHECK_MIRROR];
  bool comparing = false;
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    const LockGuard guard(servers_[i].lock(), platform_);
    servers_[i].report_comparison(mirror);
    comparing |= servers_[i].comparing();
  }
  if (comparing) mirror.verdict = VMSRS_VERDICT_PENDING;
  return checking || comparing ? VMSRS_AGAIN : VMSRS_OK;
}

}  // namespace vmsrs::recovery
