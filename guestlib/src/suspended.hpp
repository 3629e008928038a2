// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "thread.hpp"

// Users that are no thread's for now: what their threads knew of them, kept by slot under a keyed
// sum until another thread goes on with them.
namespace vmsrs::guest {

// Takes the calling thread's user, at depth 1, away from it. False: it has crashed, or the platform
// refuses; then it is the thread's as before.
[[nodiscard]] bool suspend_user(ThreadContext& context);

// Makes that user the calling thread's, which has none; its scope is still to be entered.
// VMSRS_CRASHED: it was declared crashed meanwhile, or what was kept of it is damaged: it is the
// thread's all the same. VMSRS_NOT_FOUND: no such user is suspended. Other statuses: nothing was
// done.
[[nodiscard]] std::uint64_t resume_user(ThreadContext& context, std::uint64_t user);

// What is kept of them.
const void* suspended_users_memory(std::size_t& bytes);

}  // namespace vmsrs::guest
