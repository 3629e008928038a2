// SPDX-License-Identifier: Apache-2.0
#include "instructions.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "hosted_bench.hpp"

namespace vmsrs::bench {
namespace {

// What the traced thread and its tracer, a child, share.
struct Counting {
  enum Phase { kStarting, kAllowed, kTraced, kRunning, kDone, kFailed };
  std::atomic<Phase> phase;
  std::uint64_t steps;
};

// Steps the thread from its next instruction until it says that it has done.
void trace(pid_t thread, Counting& counting) {
  const bool seized = ptrace(PTRACE_SEIZE, thread, 0, 0) == 0 &&
                      ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0 &&
                      waitpid(thread, nullptr, __WALL) == thread;
  counting.phase = seized ? Counting::kTraced : Counting::kFailed;
  while (seized && counting.phase != Counting::kDone) {
    if (counting.phase == Counting::kRunning) ++counting.steps;
    if (ptrace(PTRACE_SINGLESTEP, thread, 0, 0) != 0 || waitpid(thread, nullptr, __WALL) != thread)
      break;
  }
  ptrace(PTRACE_DETACH, thread, 0, 0);
}

}  // namespace

std::uint64_t detail::count_instructions(void (*run)(void*), void* argument) {
  void* const page =
      mmap(nullptr, sizeof(Counting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) give_up("counting instructions: mmap");
  Counting& counting = *new (page) Counting{};
  const auto thread = static_cast<pid_t>(syscall(SYS_gettid));
  const pid_t tracer = fork();
  if (tracer == 0) {
    while (counting.phase == Counting::kStarting) sched_yield();
    trace(thread, counting);
    _exit(0);
  }
  if (tracer < 0) give_up("counting instructions: fork");
  prctl(PR_SET_PTRACER, tracer, 0, 0, 0);
  counting.phase = Counting::kAllowed;
  while (counting.phase == Counting::kAllowed) sched_yield();
  if (counting.phase == Counting::kFailed) give_up("counting instructions: ptrace is not allowed");
  counting.phase = Counting::kRunning;
  run(argument);
  counting.phase = Counting::kDone;
  waitpid(tracer, nullptr, 0);
  const std::uint64_t steps = counting.steps;
  munmap(page, sizeof(Counting));
  return steps;
}

}  // namespace vmsrs::bench
