// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

// The seam between the roster and how its shared memory is kept: memory_vmsrs.cpp (the guest
// library) is linked into `roster`, memory_plain.cpp (ordinary loads and stores) into
// `roster-plain`. The program above the seam is the same.
namespace roster::memory {

struct Options {
  std::string server_name = "roster";
  std::string secret_file = "/etc/vmsrs/roster.secret";
  std::string windows_directory;  // empty: the library's default
  bool trap_every_store = false;  // the simple mechanism: each store a call
};

// "vmsrs" or "plain".
const char* name();

// Once, before the first user: takes [address, address + bytes) under protection with its present
// content as committed. False: `error` says why, for people.
bool protect(const Options& options, void* address, std::size_t bytes, std::string& error);

// Outcome of one user scope. `refused`: the body was not run.
enum class Outcome { finished, suppressed, refused };
enum class Kind {
  user,
  reader,  // only reads, and of others only what they have finished
};

// Runs body(argument) as one user on the calling thread; on_crash(argument) runs inside the fault
// handler when the user's suppression has begun: async-signal-safe code only.
Outcome run(Kind kind, std::uint64_t label, void (*body)(void*), void (*on_crash)(void*),
            void* argument);

template <typename Body, typename OnCrash>
Outcome run(Kind kind, std::uint64_t label, Body body, OnCrash on_crash) {
  struct Both {
    Body body;
    OnCrash on_crash;
  } both{std::move(body), std::move(on_crash)};
  return run(
      kind, label, [](void* p) { static_cast<Both*>(p)->body(); },
      [](void* p) { static_cast<Both*>(p)->on_crash(); }, &both);
}

std::uint64_t load(const std::uint64_t* from);
void store(std::uint64_t* to, std::uint64_t value);

// For 5.1.2: overwrites every byte of the guest library's recovery-related memory that this process
// can write, and tries the others. Returns how many bytes were overwritten.
std::size_t scribble_over_recovery_memory();

}  // namespace roster::memory
