// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <string>

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

// What a child tells on stderr.
struct ToldByChild {
  std::string text;
  int status;
};
template <typename Body>
ToldByChild told_by_child(Body body) {
  int ends[2];
  BOOST_REQUIRE_EQUAL(pipe(ends), 0);
  const int status = status_of_child([&] {
    dup2(ends[1], STDERR_FILENO);
    body();
  });
  close(ends[1]);
  ToldByChild told{{}, status};
  char buffer[1024];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    told.text.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  return told;
}

inline int signal_of(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

}  // namespace vmsrs::test
