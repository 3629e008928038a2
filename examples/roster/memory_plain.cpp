// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

// The same roster without VMSRS: ordinary memory, nobody below who would help.
namespace roster::memory {

const char* name() { return "plain"; }

bool protect(const Options&, void*, std::size_t, std::string&) { return true; }

Outcome run(Kind, std::uint64_t, void (*body)(void*), void (*)(void*), void* argument) {
  body(argument);
  return Outcome::finished;
}

std::uint64_t load(const std::uint64_t* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
void store(std::uint64_t* to, std::uint64_t value) {
  __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

std::size_t scribble_over_recovery_memory() { return 0; }

}  // namespace roster::memory
