// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "options.hpp"

// The program's users, by the policy that the environment names.
namespace vmsrs::preload {

struct Counts {
  std::uint64_t begun, not_begun, connections_ended;
};

// From here on; kNone until then, and again in a child that is not attached.
void set_policy(Users users);
Users policy();
const Counts& counts();
void reset_counts();

// In a child of fork that is not attached; and where it serves users all the same: said once.
void note_left_out();
void tell_left_out();

// Begins a user whose connection is that descriptor; -1: it has none yet. Only within a frame
// (guestlib/src/user.hpp).
void begin_user(int connection);
// Ends the calling thread's user, if it has one.
void end_user();

// The thread is going to read from that descriptor, or has read from it.
void before_read(int descriptor, bool waits);
void after_read(int descriptor, ssize_t count);
// It is going to wait for connections, or for input of several descriptors.
void before_wait();
// It is going to use that connection by other means (stdio).
void note_use(int descriptor);

}  // namespace vmsrs::preload
