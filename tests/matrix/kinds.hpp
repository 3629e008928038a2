// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vmsrs/vmsrs.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// The rows of the matrix: every way to go wrong that differs from the others in its signal, its
// class of instruction, or in who notices it.
namespace matrix {

// What a request that goes wrong has at hand.
struct Scene {
  std::uint64_t* words;  // shared; profiled, unless this is the control run
  std::size_t word_count;
  volatile unsigned* provoked;  // counted up by kinds that go wrong more than once
};

enum Trait : unsigned {
  kNeedsLibrary = 1,    // a misuse of the library: there is no control run without it
  kNoFault = 2,         // the kernel answers with an error: nothing is to be contained
  kNotContained = 4,    // ends the server, or part of it: `why` says why
  kLeavesDamage = 8,    // outside of profiled memory: the server is started anew after it
  kMayTellOthers = 16,  // other users may have to be told that they failed as well
  kMayEndLater = 32     // contained, but what it has damaged may be found by anybody: `why`
};

struct Kind {
  const char* name;        // one word
  const char* how;         // how it is provoked, for people
  int signal;              // that ends a process without the library; 0: it runs on, or for ever
  vmsrs_fault_kind fault;  // as the engine hears of it
  void (*provoke)(const Scene& scene);
  unsigned traits = 0;
  const char* why = "";
  bool (*possible)() = nullptr;  // on this processor; nullptr: on all
};

// In the order of the table.
const std::vector<Kind>& all_kinds();
// nullptr: there is none.
const Kind* find_kind(const char* name);

std::span<const Kind> address_kinds();
std::span<const Kind> processor_kinds();
std::span<const Kind> program_kinds();
std::span<const Kind> library_kinds();
std::span<const Kind> endless_kinds();

// Mapped by nobody, ever.
inline constexpr std::uintptr_t kWild = 0x0000'6b6f'6f62'0000;

// The compiler must not see what is wrong with it.
template <typename T>
T hidden(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

}  // namespace matrix
