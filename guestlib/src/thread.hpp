// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <setjmp.h>
#include <vmsrs/abi.h>

#include <cstdint>

// What a thread keeps for its own user: where to be unwound to and whom to tell of a crash. It is
// writable, so a user can damage it; a seal over it (keyed with a number in the control page)
// tells. A thread whose seal is broken is still suppressed, stepped and collected, for all of that
// rests on the hypervisor alone; it only has no landing point any more, and its callbacks are not
// trusted.
namespace vmsrs::guest {

inline constexpr std::uint32_t kMaxCallbacks = 16;  // nested scopes that have an on_crash
inline constexpr std::uint32_t kNoSlot = ~0u;
inline constexpr std::uint64_t kLanded = ~0ull;  // its frame is gone, the scope is being closed
inline constexpr std::uint64_t kSlotBits = 10;
static_assert(VMSRS_MAX_USERS == 1u << kSlotBits);

struct CrashCallback {
  void (*function)(void*);
  void* argument;
  std::uint64_t depth;  // of its scope
  std::uint64_t called;
};

struct Effect;
struct RescuePoint;
// What waits for the end of the thread's user (effects.hpp). Its sum is keyed, as the seal is.
struct EffectLog {
  Effect* effects;
  std::uint64_t bytes;  // mapped there
  std::uint64_t count;
  std::uint64_t sum;
};

struct ThreadContext {
  // Sealed.
  std::uint64_t depth;          // open scopes; a hint, the hypervisor counts
  std::uint64_t landing_depth;  // depth of the scope that is the landing point; 0: none; kLanded
  std::uint64_t user_word;      // of the window: slot's generation when the user began
  std::uint64_t kept_word;      // of the user that the thread was given in advance; 0: none
  std::uint64_t kept_mode;      // the mode when it was known to be the thread's
  std::uint64_t label;          // of the user's scope
  std::uint32_t slot;           // kNoSlot: no user, and none given in advance
  std::int32_t number;          // the kernel's, of this thread; 0: it has had no user
  std::uint32_t callback_count;
  std::uint32_t connection;  // the descriptor that the user named, plus one; 0: none
  std::uint64_t crash_ns;    // when the thread's user crashed; 0: it has not
  std::int32_t timer;        // the kernel's number of the thread's timer
  std::uint8_t timer_made;
  std::uint8_t timer_armed;
  std::uint16_t suspends;     // its scope ends without its user
  std::uint64_t trapped;      // a store of the user's was made by a call
  EffectLog effects;          // stays when the user is forgotten: they are settled after that
  std::uint64_t run_scopes;   // bit i: the scope at depth i, if it is open, ends with its body
  RescuePoint* rescue;        // the innermost one (rescue.hpp); nullptr: none
  std::uint32_t crash_kind;   // why its thread's user has crashed: enum vmsrs_fault_kind
  std::uint32_t label_bytes;  // of the text; 0: it has none, or the engine has been told
  std::uint8_t label_text[VMSRS_LABEL_BYTES];  // what the program calls its user
  CrashCallback callbacks[kMaxCallbacks];
  sigjmp_buf landing;
  std::uint64_t seal;
  // Not sealed.
  std::uint32_t broken_seal_ticks;
  std::uint32_t telling;            // of a crash: its callbacks are being called
  std::uint32_t uncounted;          // enum vmsrs_fault_kind of a crash that count_crash is owed
  std::uint32_t not_unwound;        // see NotUnwound
  std::uint32_t not_unwound_ticks;  // in a row: damage must not hold it back for ever
  std::uint32_t signals_open;       // this thread's mask was looked at, and stays
  std::uint32_t stack_ready;        // an alternate stack that will do is known to be there
  std::uint64_t crash_instruction;  // of the crash that is uncounted
};

ThreadContext& thread_context();

// While one of these is alive, the calling thread is not unwound when its time is over, but at the
// next tick of its timer: it holds a lock of the library's. Nothing in its life may take long.
class NotUnwound {
 public:
  NotUnwound() { ++thread_context().not_unwound; }
  ~NotUnwound() { --thread_context().not_unwound; }
  NotUnwound(const NotUnwound&) = delete;
  NotUnwound& operator=(const NotUnwound&) = delete;
};

void seal(ThreadContext& context);
[[nodiscard]] bool seal_holds(const ThreadContext& context);

// Forgets the user; keeps what belongs to the thread (its alternate stack). The first one leaves it
// to the caller to seal the context.
void forget_user(ThreadContext& context);
void reset_user(ThreadContext& context);

// Makes sure that the thread can take a fault: an alternate stack. 0 or a vmsrs_error.
int prepare_thread(ThreadContext& context);

// Frees what prepare_thread gave, and the user that the thread was given in advance; a user whose
// scope is still open has crashed. The destructor of the control block's stack_key.
void end_thread(void* stack);

// The kernel's number of the calling thread. Asks the kernel.
std::int32_t this_thread();
// A child of fork has its parent's: they are not its own.
void forget_parents_thread();

std::uint64_t now_ns();

}  // namespace vmsrs::guest
