// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

// The seam between the shop and how its shared memory is kept: memory_vmsrs.cpp (the guest library)
// is linked into `bookshop`, memory_plain.cpp (ordinary loads and stores) into `bookshop-plain`.
// The shop above the seam is the same program.
namespace bookshop::memory {

struct Options {
  std::string server_name;
  std::string secret_file;
  std::string windows_directory;  // empty: the library's default
  std::uint32_t suppression_limit_ms;
  std::uint32_t crash_limit;  // users that may crash within a minute; 0: the library's default
};

// "vmsrs" or "plain": for the banner.
const char* name();

// Call once, before the first user: takes [address, address + bytes) under protection with its
// present content as committed. False: `error` says why, for people.
bool protect(const Options& options, void* address, std::size_t bytes, std::string& error);

// Outcome of one user scope. `refused`: the body was not run.
enum class Outcome { finished, suppressed, refused };

// Runs body(argument) as one user on the calling thread; on_crash(argument) runs inside the fault
// handler, once, when the user's suppression has begun: async-signal-safe code only. A body may be
// left without its destructors being run, so it owns nothing.
Outcome run_user(std::uint64_t label, void (*body)(void*), void (*on_crash)(void*), void* argument);

// Has the calling thread's user crashed?
bool user_crashed();

std::uint64_t load_word(const std::uint64_t* from);
void store_word(std::uint64_t* to, std::uint64_t value);
void load_range(void* to, const void* from_shared, std::size_t bytes);
void store_range(void* to_shared, const void* from, std::size_t bytes);

// A whole row, as one operation.
template <typename T>
requires std::is_trivially_copyable_v<T> T load(const T& from) {
  T value;
  load_range(&value, &from, sizeof(T));
  return value;
}
template <typename T>
requires std::is_trivially_copyable_v<T>
void store(T& to, const T& value) { store_range(&to, &value, sizeof(T)); }

// For the demonstration's attack (injection.hpp): overwrites every byte of the guest library's
// recovery-related memory that this process can write. Returns how many bytes were overwritten.
std::size_t scribble_over_recovery_memory();

}  // namespace bookshop::memory
