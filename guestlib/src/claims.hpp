// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vmsrs/fast.hpp>

#include "claim_access.hpp"
#include "thread.hpp"

// The claims of this process's regions, and its threads' part in them (docs/protocol.md).
namespace vmsrs::guest {

// Of all users of the server. `shared`: another process may have made them. 0 or a vmsrs_error.
int prepare_user_areas(bool shared);
// Memory for a region's claims, present and writable. 0 or a vmsrs_error.
int make_claims(std::uint64_t count, vmsrs_claim*& claims);
// Once the memory that was prepared after them is forgotten.
void free_claims(vmsrs_claim* claims, std::uint64_t count);

// Regions of this process; those where each store is a call have no claims.
void add_region(const fast::Region& region);
void forget_region_numbered(std::uint64_t number);
// Is any of these bytes in a region?
bool touches_region(std::uint64_t address, std::uint64_t bytes);
// All of them. Needs the control page to be writable.
void drop_regions();
// The same, and the users' areas are made anew. 0 or a vmsrs_error.
int forget_regions();
// nullptr: these bytes are not (wholly) in a region with claims.
const fast::Region* claimed_region_at(std::uint64_t address, std::uint64_t bytes);

// The user of the calling thread begins, or is over: its own tag, its empty write set.
void take_user(std::uint64_t slot, std::uint64_t user_word, bool reader);
void leave_user();
// Another thread has had the user before, and this was its write set.
void go_on_with_user(std::uint64_t slot, std::uint64_t user_word, const vmsrs_write_set& set,
                     bool sampled);
// USER_END, with what the thread knows of its user's write set.
CallResult end_user(std::uint64_t flags = 0);
// Of a user that has not begun.
void empty_write_set(std::uint64_t slot, std::uint64_t user_word);
void set_scope_depth(std::uint64_t depth);
// May the user have stored anything that an end must commit?
bool may_have_stored(std::uint64_t user_word);
// The end of the calling thread's user needs a call.
void note_trapped();
// The slot's thread is not within a store any more.
void close_window_of(std::uint64_t slot);
// Of the calling thread: see fast::open_hook_window.
bool is_hook_window_open();
void close_hook_window();
// Is any thread of this process within a scope?
bool any_open_scope();

// The calling thread's words, set up for this attachment.
fast::Thread& claims_thread(const vmsrs_window* window);

// How ClaimAccess reaches the engine.
struct EngineCalls {
  CallResult store(std::uint64_t to, const void* from, std::size_t bytes, std::uint64_t ticket,
                   bool write_set_full);
  CallResult store_if(std::uint64_t to, std::uint64_t value, std::uint64_t expected,
                      std::size_t bytes, std::uint64_t ticket, bool write_set_full);
  CallResult load(std::uint64_t from, std::size_t bytes);
  CallResult load_committed(std::uint64_t from, void* to, std::size_t bytes);
  bool drain(std::uint64_t slot);
  void wait(std::uint64_t slot, unsigned attempt);
  bool came_out(std::uint64_t slot, std::uint64_t crash_epoch);
};
using Claims = ClaimAccess<EngineCalls>;

}  // namespace vmsrs::guest
