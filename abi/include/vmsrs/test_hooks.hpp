// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The trap-free protocol as tests take it apart (docs/protocol.md): where they may stop a thread,
// and which of its steps they may leave out. In a product build both are nothing; tests that define
// VMSRS_TEST_HOOKS compile engine and library once more, with it.
namespace vmsrs::hooks {

// The instant before a step of that name. One access to a word that others may change without the
// same lock lies between two of them, or several of which no order matters.
enum class Step : std::uint8_t {
  // STORE
  S_open,
  S_mode,
  S_crashed,
  S_tag,
  S_over,
  S_append,
  S_claim,
  S_confirm,
  S_mask,
  S_data,
  S_close,
  // LOAD
  L_data,
  L_mode,
  L_crashed,
  L_tag,
  L_data2,
  L_over,
  L_owner,
  L_tag_again,
  L_mode_again,
  // COMMITTED LOAD
  C_freed,
  C_tag,
  C_over,
  C_data,
  C_tag_again,
  C_freed_again,
  // END, as far as the user's own thread goes: what it notes to hand over
  END_tag,
  END_mask,
  END_data,
  END_call,
  // the guest's part of DRAIN
  DRAIN_barrier,
  // traps
  TS_tag,
  TS_take,
  TS_freeze,
  TS_contend,
  TS_contend_tag,
  TS_record,
  TS_repair,
  TL_tag,
  TL_data,
  // whatever restores, commits or frees a granule
  RESTORE_data,
  APPLY_mirror,
  FREE_count,
  FREE_tag,
  FREED,
  AGE_clear,
  SWEEP_claim,
  SWEEP_restore,
  // words of the window
  PUBLISH_cst,
  PUBLISH_user,
  PUBLISH_mode,
  kCount
};

#ifdef VMSRS_TEST_HOOKS
void step(Step step);       // the test's
extern unsigned open_hole;  // number of the step that is left out, or done wrongly; 0: none
inline bool hole(unsigned number) { return number == open_hole; }
#else
constexpr void step(Step) {}
constexpr bool hole(unsigned) { return false; }
#endif

}  // namespace vmsrs::hooks
