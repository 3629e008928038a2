// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace vmsrs::guest {

// A reader sees committed values only, and may not store.
enum class ScopeKind { kUser, kReader };

// Opens a scope of the calling thread's user. 0 and the scope's depth (1: outermost), or an error.
int open_scope(std::uint64_t label, ScopeKind kind, void (*on_crash)(void*), void* argument,
               std::uint64_t& depth);

// Closes every scope of the calling thread from `depth` on; at depth 1 that is the user's end
// point: it is committed, or collected if it had crashed. A vmsrs_outcome (not UNWOUND) or an
// error.
int close_scopes(std::uint64_t depth);

}  // namespace vmsrs::guest
