// SPDX-License-Identifier: Apache-2.0
#include "users.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include "connections.hpp"
#include "next.hpp"
#include "thread.hpp"
#include "user.hpp"

namespace vmsrs::preload {
namespace {

constinit Users policy_in_force = Users::kNone;
constinit Counts counts_{};
constinit bool is_left_out = false;

void count(std::uint64_t& number) { __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED); }

// The user's connection, where a user cannot change it unnoticed: sealed.
int connection_of_user() {
  const guest::ThreadContext& context = guest::thread_context();
  return guest::seal_holds(context) ? static_cast<int>(context.connection) - 1 : -1;
}

// In the fault handler: its client hears at once that there will be no answer.
void on_crash(void*) {
  const int connection = connection_of_user();
  if (connection < 0 || connection_number(connection) == 0) return;
  end_connection(connection);
  count(counts_.connections_ended);
}

bool has_user() {
  const guest::ThreadContext& context = guest::thread_context();
  return guest::has_frame() && context.depth != 0;
}

// Nothing is there, and the read would say so.
bool would_give_nothing(int descriptor, bool waits) {
  const int flags = waits ? fcntl(descriptor, F_GETFL) : O_NONBLOCK;
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return false;
  pollfd input = {descriptor, POLLIN, 0};
  return VMSRS_NEXT(poll)(&input, 1, 0) == 0;
}

}  // namespace

void set_policy(Users users) { __atomic_store_n(&policy_in_force, users, __ATOMIC_RELEASE); }
Users policy() { return __atomic_load_n(&policy_in_force, __ATOMIC_ACQUIRE); }
const Counts& counts() { return counts_; }
void reset_counts() { counts_ = {}; }

void note_left_out() { is_left_out = true; }
void tell_left_out() {
  if (!is_left_out) [[likely]]
    return;
  is_left_out = false;
  dprintf(STDERR_FILENO,
          "vmsrs: this child of fork is unprotected (VMSRS_CHILDREN=forked: protect it)\n");
}

void begin_user(int connection) {
  const std::uint32_t number = connection_number(connection);
  if (guest::begin_user_in_frame(number, on_crash, nullptr) != 0) {
    if (__atomic_fetch_add(&counts_.not_begun, 1, __ATOMIC_RELAXED) == 0)
      dprintf(STDERR_FILENO, "vmsrs: a request runs unprotected: %s\n", vmsrs_error_message());
    return;
  }
  count(counts_.begun);
  if (number != 0) vmsrs_user_connection(connection);
}

void end_user() { guest::end_user_in_frame(); }

void before_read(int descriptor, bool waits) {
  if (policy() != Users::kRequests || connection_number(descriptor) == 0 || !has_user()) return;
  if (!would_give_nothing(descriptor, waits)) end_user();
}

void after_read(int descriptor, ssize_t bytes) {
  if (connection_number(descriptor) == 0) return;
  if (policy() == Users::kRequests && bytes > 0 && guest::has_frame()) begin_user(descriptor);
  note_use(descriptor);
}

void before_wait() {
  if (policy() == Users::kRequests && has_user()) end_user();
}

void note_use(int descriptor) {
  if (policy() == Users::kThreads && connection_number(descriptor) != 0 && has_user() &&
      connection_of_user() < 0)
    vmsrs_user_connection(descriptor);
}

}  // namespace vmsrs::preload
