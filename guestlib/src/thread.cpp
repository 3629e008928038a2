// SPDX-License-Identifier: Apache-2.0
#include "thread.hpp"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "bounds.hpp"
#include "claims.hpp"
#include "control.hpp"
#include "effects.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "suppression.hpp"
#include "user.hpp"

namespace vmsrs::guest {
namespace {

// A signal frame with AVX-512 state takes about 4 KiB, AMX 12 KiB; faults may nest a few times.
constexpr std::size_t kStackBytes = 128 * 1024;
// What a thread's own must have: a signal's frame alone takes up to 12 KiB, and handlers nest.
constexpr std::size_t kLeastStackBytes = 64 * 1024;

constinit thread_local ThreadContext context_of_thread{};
char no_stack_given;  // its address only

// A keyed sum. Each word is weighed by its place with an odd number, so no single bit goes unseen,
// and no product waits for another: a scope makes and looks at half a dozen seals.
class Mixer {
 public:
  explicit Mixer(std::uint64_t key) : key_(key) {}
  void add(std::uint64_t word) {
    state_ += (word ^ key_) * weight_;
    weight_ += 2 * 0x9e3779b97f4a7c15ull;
  }
  void add(const void* from, std::size_t bytes) {  // a multiple of 8
    for (std::size_t i = 0; i < bytes; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, static_cast<const std::byte*>(from) + i, 8);
      add(word);
    }
  }
  std::uint64_t state() const { return state_; }

 private:
  std::uint64_t key_;
  std::uint64_t weight_ = 0x9e3779b97f4a7c15ull;
  std::uint64_t state_ = 0x243f6a8885a308d3ull;
};

std::uint64_t seal_of(const ThreadContext& context) {
  Mixer mixer(control().seal_key);
  mixer.add(reinterpret_cast<std::uint64_t>(&context));
  mixer.add(context.landing_depth);
  mixer.add(context.user_word);
  mixer.add(static_cast<std::uint64_t>(context.number) << 32 | context.slot);
  mixer.add(context.kept_word);
  mixer.add(context.kept_mode);
  mixer.add(context.label);
  mixer.add(context.trapped);
  mixer.add(context.run_scopes);
  mixer.add(reinterpret_cast<std::uint64_t>(context.effects.effects));
  mixer.add(context.effects.bytes);
  mixer.add(context.effects.count);
  mixer.add(context.effects.sum);
  mixer.add(context.depth);
  mixer.add(context.crash_ns);
  mixer.add(static_cast<std::uint64_t>(context.timer) << 32 |
            static_cast<std::uint64_t>(context.timer_made) << 24 |
            static_cast<std::uint64_t>(context.timer_armed) << 16 | context.suspends);
  const std::uint32_t count =
      context.callback_count < kMaxCallbacks ? context.callback_count : kMaxCallbacks;
  mixer.add(static_cast<std::uint64_t>(context.connection) << 32 | context.callback_count);
  mixer.add(context.callbacks, count * sizeof(CrashCallback));
  // The registers only: no signal mask is kept in the landing point.
  if (context.landing_depth != 0) mixer.add(context.landing->__jmpbuf, sizeof(__jmp_buf));
  if (context.label_bytes != 0) {
    mixer.add(context.label_bytes);
    mixer.add(context.label_text, sizeof context.label_text);
  }
  if (context.rescue != nullptr || context.crash_kind != 0) {
    mixer.add(reinterpret_cast<std::uint64_t>(context.rescue));
    mixer.add(context.crash_kind);
  }
  return mixer.state();
}

// The thread ends within scopes that nobody will end any more: what their user did is not finished.
// Those whom a crash is told are gone with their frames, and so is the landing point.
void end_open_scopes(ThreadContext& context) {
  context.callback_count = 0;
  context.landing_depth = kLanded;
  seal(context);
  const CallResult crash = crash_user(VMSRS_FAULT_ABORT, 0, 0);
  if (crash.status == VMSRS_OK || crash.status == VMSRS_CRASHED)
    close_scopes(1);
  else  // the platform has seen it already
    reset_user(context);
}

}  // namespace

ThreadContext& thread_context() { return context_of_thread; }

void seal(ThreadContext& context) {
  asm volatile("" : : : "memory");
  context.seal = seal_of(context);
  asm volatile("" : : : "memory");
}

bool seal_holds(const ThreadContext& context) {
  asm volatile("" : : : "memory");
  return context.seal == seal_of(context);
}

void forget_user(ThreadContext& context) {
  context.depth = 0;
  context.landing_depth = 0;
  context.user_word = 0;
  context.kept_word = 0;
  context.kept_mode = 0;
  context.label = 0;
  context.trapped = 0;
  context.suspends = 0;
  context.slot = kNoSlot;
  context.callback_count = 0;
  context.connection = 0;
  context.label_bytes = 0;
  context.rescue = nullptr;
  context.crash_kind = 0;
  context.telling = 0;
  context.crash_ns = 0;
  context.timer_armed = 0;
  context.broken_seal_ticks = 0;
  context.not_unwound_ticks = 0;
  context.not_unwound = 0;  // whatever a user has made of it
}

void reset_user(ThreadContext& context) {
  if (!seal_holds(context)) context.effects = {};  // wherever they are, nobody can say
  forget_user(context);
  seal(context);
}

int prepare_thread(ThreadContext& context) {
  if (context.stack_ready == 1) return 0;
  stack_t present{};
  if (sigaltstack(nullptr, &present) != 0)
    return fail(VMSRS_ERROR_SYSTEM, "sigaltstack: %s", strerrordesc_np(errno));
  void* given = &no_stack_given;  // never nothing: the end of the thread must be noticed
  const bool in_use = (present.ss_flags & SS_ONSTACK) != 0;
  if ((present.ss_flags & SS_DISABLE) != 0 || (present.ss_size < kLeastStackBytes && !in_use)) {
    void* memory = mmap(nullptr, kStackBytes + VMSRS_PAGE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
      return fail(VMSRS_ERROR_SYSTEM, "memory for an alternate signal stack: mmap: %s",
                  strerrordesc_np(errno));
    mprotect(memory, VMSRS_PAGE_BYTES, PROT_NONE);  // the guard below the stack
    stack_t wanted{};
    wanted.ss_sp = static_cast<std::byte*>(memory) + VMSRS_PAGE_BYTES;
    wanted.ss_size = kStackBytes;
    if (sigaltstack(&wanted, nullptr) != 0) {
      const int error = errno;
      munmap(memory, kStackBytes + VMSRS_PAGE_BYTES);
      return fail(VMSRS_ERROR_SYSTEM, "alternate signal stack: %s", strerrordesc_np(error));
    }
    given = memory;
  }
  if (pthread_setspecific(control().stack_key, given) != 0) {
    end_thread(given);
    return fail(VMSRS_ERROR_SYSTEM, "no memory for a thread-specific value");
  }
  context.stack_ready = !in_use;  // one in use may be too small: it is looked at again
  return 0;
}

void end_thread(void* stack) {
  ThreadContext& context = context_of_thread;
  if (attached_window() != nullptr && seal_holds(context) && context.depth != 0)
    end_open_scopes(context);
  give_up_timer(context);
  free_effects();
  if (attached_window() != nullptr && seal_holds(context) && context.kept_word != 0) {
    reset_user(context);
    // The user that it was given in advance; declared crashed since, it has nothing to be restored.
    if (end_user().status == VMSRS_CRASHED) call_to_end(VMSRS_CALL_USER_COLLECT);
  }
  if (stack == &no_stack_given) return;
  stack_t present{};
  if (sigaltstack(nullptr, &present) == 0 &&
      present.ss_sp == static_cast<std::byte*>(stack) + VMSRS_PAGE_BYTES) {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }
  munmap(stack, kStackBytes + VMSRS_PAGE_BYTES);
  context_of_thread.stack_ready = 0;
}

std::int32_t this_thread() { return static_cast<std::int32_t>(syscall(SYS_gettid)); }

void forget_parents_thread() {
  ThreadContext& context = context_of_thread;
  const std::int32_t number = this_thread();
  if (context.number != number) context.timer_made = context.timer_armed = 0;
  context.number = number;
}

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace vmsrs::guest
