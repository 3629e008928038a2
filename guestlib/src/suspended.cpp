// SPDX-License-Identifier: Apache-2.0
#include "suspended.hpp"

#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstring>

#include "bounds.hpp"
#include "claims.hpp"
#include "control.hpp"
#include "effects.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"

namespace vmsrs::guest {
namespace {

// Words only: each is in the sum.
struct SuspendedUser {
  std::uint64_t own;  // body of its tags
  vmsrs_write_set set;
  std::uint64_t sampled;
  std::uint64_t label;
  std::uint64_t connection;
  std::uint64_t trapped;
  EffectLog effects;
  std::uint64_t label_bytes;
  std::uint64_t label_text[VMSRS_LABEL_BYTES / 8];
  std::uint64_t sum;
};
constinit SuspendedUser suspended_users[VMSRS_MAX_USERS]{};

std::uint64_t sum_of(const SuspendedUser& user) {
  std::uint64_t words[offsetof(SuspendedUser, sum) / 8];
  std::memcpy(words, &user, sizeof words);
  std::uint64_t sum = control().seal_key ^ to_register(&user);
  for (const std::uint64_t word : words) {
    sum = (sum ^ word) * VMSRS_TAG_BODY_FACTOR;
    sum ^= sum >> 29;
  }
  return sum;
}

// What is known of it is of another user, or damaged: the engine looks for itself what it stored.
void forget_what_was_kept(SuspendedUser& user, std::uint64_t own) {
  user = {};
  user.own = own;
}

}  // namespace

bool suspend_user(ThreadContext& context) {
  const std::uint32_t slot = context.slot;
  if (slot >= VMSRS_MAX_USERS) return false;
  const fast::Thread thread = vmsrs_fast_thread;
  SuspendedUser& user = suspended_users[slot];
  user = {};
  user.own = thread.own;
  user.set = thread.set;
  user.sampled = thread.sampled;
  user.label = context.label;
  user.connection = context.connection;
  user.trapped = context.trapped;
  user.effects = context.effects;
  user.label_bytes = context.label_bytes;
  std::memcpy(user.label_text, context.label_text, sizeof user.label_text);
  user.sum = sum_of(user);
  close_hook_window();
  // Before the call: behind it, it may be another thread's.
  leave_user();
  note_thread_of(slot, 0);
  if (call_to_end(VMSRS_CALL_USER_SUSPEND, {.rdi = context.label}).status != VMSRS_OK) {
    vmsrs_fast_thread = thread;
    note_thread_of(slot, context.number);
    return false;
  }
  context.effects = {};
  forget_user(context);
  seal(context);
  return true;
}

std::uint64_t resume_user(ThreadContext& context, std::uint64_t number) {
  const std::uint64_t slot = number & (VMSRS_MAX_USERS - 1);
  const CallResult answer =
      call(VMSRS_CALL_USER_RESUME, {.rdi = slot, .rsi = (number >> kSlotBits) - 1});
  if (answer.status != VMSRS_OK) return answer.status;
  const std::uint64_t word = answer.second;
  SuspendedUser user = suspended_users[slot];
  const std::uint64_t own = vmsrs_tag_body(VMSRS_TAG_OWN, slot, word >> 2);
  const bool sound = user.sum == sum_of(suspended_users[slot]) && user.own == own;
  if (!sound) forget_what_was_kept(user, own);
  reset_user(context);
  free_effects();
  context.slot = static_cast<std::uint32_t>(slot);
  context.number = this_thread();
  context.user_word = (word & ~std::uint64_t{3}) | VMSRS_USER_ACTIVE;
  context.label = user.label;
  context.connection = static_cast<std::uint32_t>(user.connection);
  context.trapped = user.trapped;
  context.effects = user.effects;
  context.label_bytes = static_cast<std::uint32_t>(user.label_bytes);
  std::memcpy(context.label_text, user.label_text, sizeof context.label_text);
  context.depth = 1;
  seal(context);
  note_thread_of(slot, context.number);
  go_on_with_user(slot, context.user_word, user.set, user.sampled != 0);
  if (!sound) {
    crash_user(VMSRS_FAULT_CHECK, to_register(&suspended_users[slot]), 0);
    return VMSRS_CRASHED;
  }
  return (word & 3) == VMSRS_USER_ACTIVE ? VMSRS_OK : VMSRS_CRASHED;
}

const void* suspended_users_memory(std::size_t& bytes) {
  bytes = sizeof suspended_users;
  return suspended_users;
}

}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_user_suspend(void) {
  if (attached_window() == nullptr) return fail_status("vmsrs_user_suspend", VMSRS_NOT_ATTACHED);
  ThreadContext& context = thread_context();
  if (!seal_holds(context) || context.depth == 0)
    return fail_status("vmsrs_user_suspend", VMSRS_NO_USER);
  if (context.depth != 1)
    return fail(
        VMSRS_ERROR_STATE,
        "vmsrs_user_suspend: a scope within another one: only the outermost can end without "
        "its user");
  if (vmsrs_fast_thread.reader != 0)
    return fail(
        VMSRS_ERROR_STATE,
        "vmsrs_user_suspend: a reader: it has nothing to go on with, end it and begin another");
  context.suspends = 1;
  seal(context);
  return 0;
}
