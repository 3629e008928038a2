// SPDX-License-Identifier: Apache-2.0
#include "recovery/engine.hpp"
#include "recovery/verdict.hpp"

// Runs the invariants of docs/invariants.md. Seven are looked at when a check begins; the eighth
// (mirror) needs threads of the servers and is collected from them.
namespace vmsrs::recovery {

void Engine::run_checks() {
  report_ = vmsrs_check_report{};
  vmsrs_check_result* const results = report_.results;
  results[VMSRS_CHECK_HIDDEN] = platform_.check_hidden();
  pool_.check(results[VMSRS_CHECK_STORAGE]);
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    Server& server = servers_[i];
    const LockGuard guard(server.lock(), platform_);
    server.check_storage(results[VMSRS_CHECK_STORAGE]);
    server.check_chains(results[VMSRS_CHECK_CHAINS]);
    server.check_users(results[VMSRS_CHECK_USERS]);
    server.check_collected(results[VMSRS_CHECK_COLLECTED]);
    server.check_accounting(results[VMSRS_CHECK_ACCOUNTING]);
    server.check_windows(results[VMSRS_CHECK_WINDOWS]);
    server.request_comparison();
  }
}

vmsrs_status Engine::check(bool anew, vmsrs_check_report& report) {
  const LockGuard table(table_lock_, platform_);
  if (anew) run_checks();
  if (!anew && !checked_) return VMSRS_WRONG_STATE;
  checked_ = true;
  report = report_;
  vmsrs_check_result& mirror = report.results[VMSRS_CHECK_MIRROR];
  bool pending = false;
  for (std::uint32_t i = 0; i < server_count_; ++i) {
    const LockGuard guard(servers_[i].lock(), platform_);
    servers_[i].report_comparison(mirror);
    pending |= servers_[i].comparing();
  }
  if (pending) mirror.verdict = VMSRS_VERDICT_PENDING;
  return pending ? VMSRS_AGAIN : VMSRS_OK;
}

}  // namespace vmsrs::recovery
