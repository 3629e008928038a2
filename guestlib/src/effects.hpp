// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// What becomes true only when the calling thread's user ends: what it frees, what it sends, what it
// has taken. In order, once, after the end: by then the user is over, and its thread has none.
namespace vmsrs::guest {

enum class Ending : std::uint64_t {
  kFinished,   // all that the user stored is committed
  kTakenBack,  // it had crashed, and is collected
};

struct Effect {
  void (*settle)(Ending ending, std::uint64_t first, std::uint64_t second);
  std::uint64_t first;
  std::uint64_t second;
};

// Of the thread's user; a scope is open. False: no memory, or the thread's words are damaged.
[[nodiscard]] bool add_effect(const Effect& effect);
// The effects are those that were added. Looked at before a user's end: afterwards is too late.
bool effects_hold();
// The user is over. Damaged effects are not carried out.
void settle_effects(Ending ending);
// The user is over, and how is not known: nothing of it is carried out.
void drop_effects();
// The thread ends.
void free_effects();

}  // namespace vmsrs::guest
