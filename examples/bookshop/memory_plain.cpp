// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "memory.hpp"

// The same shop without VMSRS: ordinary memory, nobody below who would help.
namespace bookshop::memory {

const char* name() { return "plain"; }

bool protect(const Options&, void*, std::size_t, std::string&) { return true; }

Outcome run_user(std::uint64_t, void (*body)(void*), void (*)(void*), void* argument) {
  body(argument);
  return Outcome::finished;
}

bool user_crashed() { return false; }

std::uint64_t load_word(const std::uint64_t* from) { return *from; }
void store_word(std::uint64_t* to, std::uint64_t value) { *to = value; }
void load_range(void* to, const void* from_shared, std::size_t bytes) {
  std::memcpy(to, from_shared, bytes);
}
void store_range(void* to_shared, const void* from, std::size_t bytes) {
  std::memcpy(to_shared, from, bytes);
}

std::size_t scribble_over_recovery_memory() { return 0; }

}  // namespace bookshop::memory
