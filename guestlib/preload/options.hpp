// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <cstddef>

// What the environment says (docs/preload.md): read once, before the program's first instruction,
// and constant from then on.
namespace vmsrs::preload {

// What is a user in a program that does not know the word.
enum class Users {
  kNone,
  kThreads,   // a thread that the program starts
  kRequests,  // from a read on an accepted connection to the thread's next wait for input
  kEvents     // a call of libevent's for a descriptor
};

// Which processes besides the one that was started.
enum class Children {
  kNone,
  kForked,  // children of fork
  kAll      // and what they, or it, execute
};

inline constexpr std::size_t kMostRegions = 8;

struct Options {
  vmsrs_options attach;
  Users users;
  Children children;
  bool runs_unprotected;  // where it cannot attach
  const char* report;     // a file's name, from the root; nullptr: none
  std::size_t region_count;
  std::size_t region_bytes[kMostRegions];
};

// Whether this process is the one to protect: it runs the program that the environment names, or
// none is named. Ends the process, with a message, if there is no such program.
bool is_program();

// False: there is no VMSRS_SERVER. Ends the process, with a message, if something is wrong with
// what is there.
bool read_options(Options& options);

// Takes what read_options() has read, and this library, out of the environment.
void leave_environment();

// The preload object itself cannot do what it was asked for.
[[noreturn]] void refuse();

}  // namespace vmsrs::preload
