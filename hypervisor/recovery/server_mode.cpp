// SPDX-License-Identifier: Apache-2.0
#include <atomic>

#include "recovery/server.hpp"

// The mode word and the user words, hidden and as the server sees them. A user word counts only for
// who has seen suppression in the mode word; so the store of the mode word is the one that decides,
// and a user word is always stored before it.
namespace vmsrs::recovery {
namespace {

void store_word(std::uint64_t& word, std::uint64_t value, std::memory_order order) {
  std::atomic_ref<std::uint64_t>(word).store(value, order);
}

}  // namespace

void Server::publish_mode() {
  step(Step::PUBLISH_mode);
  if (vmsrs_window* const window = platform_->window(index_))
    store_word(window->status.mode, mode_, std::memory_order_release);
}

void Server::publish_shared() {
  if (vmsrs_window* const window = platform_->window(index_))
    store_word(window->status.processes, shared_, std::memory_order_release);
}

void Server::publish_containment() {
  if (vmsrs_window* const window = platform_->window(index_))
    std::atomic_ref(window->status.containment).store(containment_, std::memory_order_release);
}

void Server::set_containment(vmsrs_server_containment mode) {
  containment_ = mode;
  publish_containment();
}

void Server::publish_user(Slot slot) {
  vmsrs_window* const window = platform_->window(index_);
  if (window == nullptr) return;
  const User& user = ledger_.users[slot];
  // Users end far more often than they crash, and a line that is not written need not move.
  step(Step::PUBLISH_cst);
  if (std::atomic_ref(window->crash_epochs[slot]).load(std::memory_order_relaxed) !=
      user.crash_epoch)
    store_word(window->crash_epochs[slot], user.crash_epoch, std::memory_order_release);
  step(Step::PUBLISH_user);
  store_word(window->users[slot], user.word(), std::memory_order_release);
}

void Server::publish_everything() {
  vmsrs_window* const window = platform_->window(index_);
  if (window == nullptr) return;
  vmsrs_status_page& status = window->status;
  clear_bytes(status.reserved, sizeof status.reserved);
  clear_bytes(status.reserved2, sizeof status.reserved2);
  status.abi_version = VMSRS_ABI_VERSION;
  status.server = index_;
  for (std::uint32_t slot = 0; slot < VMSRS_MAX_USERS; ++slot)
    publish_user(static_cast<Slot>(slot));
  store_word(status.service_request, service_request_, std::memory_order_release);
  store_word(status.service_taken, 0, std::memory_order_release);
  store_word(status.freed, freed_, std::memory_order_release);
  publish_shared();
  publish_containment();
  publish_mode();
  store_word(status.magic, VMSRS_WINDOW_MAGIC, std::memory_order_release);
}

void Server::change_mode(bool suppression) {
  const std::uint64_t epoch = (mode_ >> 1) + 1;
  mode_ = epoch << 1 | (suppression ? VMSRS_MODE_SUPPRESSION : 0);
  publish_mode();
}

void Server::enter_suppression(Slot slot, CrashedBy by) {
  User& user = ledger_.users[slot];
  const std::uint64_t now = platform_->now_ns();
  const bool began = !suppressing();
  if (began) suppression_began_ns_ = now;
  user.state = VMSRS_USER_CRASHED;
  user.crash_ns = now;
  user.crash_epoch = (mode_ >> 1) + 1;
  user.drained = by == CrashedBy::kItself || hole(4);  // its thread stores nothing while it is here
  user.heard = user.seen_to = by == CrashedBy::kItself;
  user.taken = 0;
  user.eager_work = has_eager_region() ? EagerWork::kHold : EagerWork::kNone;
  user.left_behind = false;
  user.swept_region = 0;
  user.eager_done = 0;
  crashed_count_.add(slot);
  expose_readers(slot);
  publish_user(slot);
  change_mode(true);
  if (began) tell_suppression_began(slot);
}

// DRAINED. The mode moves before anything of the user's may be restored: who found a granule
// unowned before its last claim must not take it for the same when it is unowned again.
void Server::note_drained(User& user) {
  if (user.drained) return;
  if (user.state == VMSRS_USER_STUCK) {  // not any more: it has come out of its store
    const Slot slot = ledger_.users.slot_of(user);
    user.state = VMSRS_USER_CRASHED;
    stuck_count_.remove(slot);
    publish_user(slot);
  }
  if (!hole(27)) change_mode(true);
  user.drained = true;
  // What had to wait, unless the caller goes on with it.
  if (user.eager_work != EagerWork::kNone || user.collect_requested ||
      ledger_.users.resting_count() > 0)
    call_for_service();
}

void Server::enter_stuck(User& user) {
  if (user.state == VMSRS_USER_STUCK) return;
  const Slot slot = ledger_.users.slot_of(user);
  user.state = VMSRS_USER_STUCK;
  stuck_count_.add(slot);
  publish_user(slot);
  tell_of_user(VMSRS_EVENT_STUCK, slot);
}

// The same, and its own process knows of it.
void Server::note_seen_to(User& user) {
  note_drained(user);
  user.seen_to = true;
}

void Server::leave_suppression() {
  ++counters_.suppressions;
  counters_.suppression_ns += platform_->now_ns() - suppression_began_ns_;
  tell_suppression_ended();
  change_mode(false);
}

// A call that found nobody (the thread was busy touching a page, say) is repeated after a while.
void Server::call_for_service() {
  constexpr std::uint64_t kPatienceNs = 100'000'000;
  const std::uint64_t now = platform_->now_ns();
  if (service_called_ns_ != 0 && now - service_called_ns_ < kPatienceNs) return;
  service_called_ns_ = now;
  ++service_request_;
  if (vmsrs_window* const window = platform_->window(index_))
    store_word(window->status.service_request, service_request_, std::memory_order_release);
}

}  // namespace vmsrs::recovery
