// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::guest {

// A reader sees committed values only, and may not store.
enum class ScopeKind { kUser, kReader };

// Opens a scope of the calling thread's user. 0 and the scope's depth (1: outermost), or an error.
int open_scope(std::uint64_t label, ScopeKind kind, void (*on_crash)(void*), void* argument,
               std::uint64_t& depth);

// How the scope's body was left.
enum class Left { kByItself, kUnwound };

// Closes every scope of the calling thread from `depth` on; at depth 1 that is the user's end
// point: it is committed, or collected if it had crashed. A vmsrs_outcome (not UNWOUND) or an
// error.
int close_scopes(std::uint64_t depth, Left left = Left::kByItself);

// For a program that knows nothing of users (preload/). Runs body(argument), within which users are
// begun and ended one after the other, in whatever functions: each is unwound to this frame. True:
// that has happened, and the body's frames are gone. Where the thread has such a frame already it
// is a plain call. Exceptions and the thread's end pass.
bool run_in_frame(void (*body)(void*), void* argument);
// Is the calling thread within such a body?
bool has_frame();
// The thread's next user in its frame; the former one, if it is open still, ends first. 0 or an
// error: VMSRS_ERROR_STATE if there is no frame.
int begin_user_in_frame(std::uint64_t label, void (*on_crash)(void*), void* argument);
// A vmsrs_outcome or an error; VMSRS_ERROR_STATE: the frame has no user.
int end_user_in_frame();
// In a child of fork: its parent's user is its parent's.
void forget_user_in_frame();

}  // namespace vmsrs::guest
