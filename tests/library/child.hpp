// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "fixture.hpp"

// What may end a process, in a child of it: the server that is attached goes on there.
namespace vmsrs::test {

template <typename Body>
int status_of_child(Body body) {
  const pid_t child = fork_between_calls();
  if (child == 0) {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    freopen("/dev/null", "w", stderr);
    alarm(20);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

inline int signal_of(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

}  // namespace vmsrs::test
