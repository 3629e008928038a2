// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <time.h>
#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>

// Locks of the C library that the calling thread's user has taken within its scope and not let go
// of. A user that is unwound comes by none of its own unlocking: the library lets go of what it
// still holds, when all that it stored is restored. The list is ordinary memory, so each entry is
// under a keyed sum; what has been damaged is not touched.
namespace vmsrs::guest {

// The C library's own, behind ours (interpose_locks.cpp). In the control page.
struct LockFunctions {
  using Wait = int (*)(void*, clockid_t, const timespec*);
  struct Kind {
    int (*attempt)(void*);
    Wait wait;           // until then, by that clock
    int (*take)(void*);  // however long it takes
    int (*let_go)(void*);
  };
  Kind mutex, reading, writing;
};
// Found, if they are not known yet.
const LockFunctions& lock_functions();

void set_up_locks(const vmsrs_options& options);

// The body of a scope that unwinding comes back to begins, in frames below `frame`: locks in there
// go with it. Its user holds nothing yet.
void begin_holding(const void* frame);
// It has ended by itself: what it holds is the program's to let go.
void end_holding();
// Unwinding has come back: lets go of everything, the last lock first, once.
void let_go_of_locks();
// Of those that were taken since there were so many. The user goes on.
std::uint32_t held_lock_count();
void let_go_of_locks_since(std::uint32_t count);

// As the C library's, and noted if the thread's user is to be looked at. until == nullptr: however
// long it takes; of a crashed user, until its time is over: then it is unwound.
int take_lock(const LockFunctions::Kind& kind, void* lock, clockid_t clock, const timespec* until);
int try_lock(const LockFunctions::Kind& kind, void* lock);
int let_go_of_lock(const LockFunctions::Kind& kind, void* lock);

// What the calling thread's list is kept in.
const void* held_locks(std::size_t& bytes);

}  // namespace vmsrs::guest
