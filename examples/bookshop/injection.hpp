// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

// THE DEMONSTRATION'S BUG. A shop that is not a demonstration has no such file: what is here is the
// programming error whose consequences the scenario shows. A chosen user's purchase touches memory
// it should not, half-way through an update of several words, and the processor faults for real.
namespace bookshop {

enum class FaultKind {
  wild,      // a store through a pointer to nowhere
  null,      // a store through a null pointer
  div,       // a division by zero
  hole,      // a store to a page that munmap took away
  scribble,  // first overwrites the guest library's recovery-related memory, then wild
};

struct Injection {
  std::uint64_t user;
  FaultKind kind;
  unsigned item;  // the user's ADD, counted from 1 within its order, that crashes
  bool always = false;  // in each of the user's orders, not in the first alone
};

// USER:KIND[:ITEM]; ITEM is 1 if not given. False if it is anything else.
bool parse_injection(std::string_view text, Injection& injection);

class Injector {
 public:
  // Before threads start.
  void arm(const Injection& injection) { armed_.emplace_back(injection); }

  // Called half-way through the update of each ADD. Faults for each armed injection that it fits,
  // once unless that says always; returns if the fault was survived, or if there was none.
  void maybe_fault(std::uint64_t user, unsigned item);

 private:
  struct Armed {
    explicit Armed(const Injection& what) : injection(what) {}
    Armed(const Armed& other) : injection(other.injection) {}
    Injection injection;
    std::atomic<bool> spent{false};
  };
  std::vector<Armed> armed_;
};

}  // namespace bookshop
