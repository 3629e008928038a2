// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <cstdlib>

#include "next.hpp"
#include "user.hpp"
#include "users.hpp"

// Where users can be unwound to: the first function of each thread that the program starts, and
// main().
namespace vmsrs::preload {
namespace {

struct Thread {
  void* (*function)(void*);
  void* argument;
  void* result;
};

void run_function(void* thread) {
  auto& self = *static_cast<Thread*>(thread);
  if (policy() == Users::kThreads) begin_user(-1);
  self.result = self.function(self.argument);
}

// A thread whose user has been unwound ends as one that was cancelled.
void* run_thread(void* given) {
  Thread self = *static_cast<Thread*>(given);
  std::free(given);
  const bool unwound = guest::run_in_frame(run_function, &self);
  return unwound ? PTHREAD_CANCELED : self.result;
}

bool has_frames() { return policy() == Users::kThreads || policy() == Users::kRequests; }

struct Program {
  int (*main)(int, char**, char**);
  int argc;
  char** argv;
  int result;
};
using Main = int(int, char**, char**);
constinit Main* programs_main = nullptr;

void run_program(void* program) {
  auto& self = *static_cast<Program*>(program);
  self.result = self.main(self.argc, self.argv, environ);
}

int run_main(int argc, char** argv, char**) {
  Program program = {programs_main, argc, argv, 0};
  if (!guest::run_in_frame(run_program, &program)) return program.result;
  dprintf(
      STDERR_FILENO,
      "vmsrs: a user of the main thread cannot go on, and there is nothing behind it: ending\n");
  set_policy(Users::kNone);
  std::abort();
}

}  // namespace
}  // namespace vmsrs::preload

using namespace vmsrs::preload;

extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*function)(void*),
                   void* argument) noexcept {
  if (!has_frames()) return VMSRS_NEXT(pthread_create)(thread, attributes, function, argument);
  auto* const self = static_cast<Thread*>(std::malloc(sizeof(Thread)));
  if (self == nullptr) return EAGAIN;
  *self = {function, argument, nullptr};
  const int error = VMSRS_NEXT(pthread_create)(thread, attributes, run_thread, self);
  if (error != 0) std::free(self);
  return error;
}

// Not the end that cancellation is: the thread says that it is done.
void pthread_exit(void* result) {
  end_user();
  VMSRS_NEXT(pthread_exit)(result);
  __builtin_unreachable();
}

int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(),
                      void (*fini)(), void (*rtld_fini)(), void* stack_end) {
  if (policy() == Users::kRequests) {
    programs_main = main;
    main = run_main;
  }
  return VMSRS_NEXT(__libc_start_main)(main, argc, argv, init, fini, rtld_fini, stack_end);
}

}  // extern "C"
