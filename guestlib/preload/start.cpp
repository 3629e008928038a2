// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include "connections.hpp"
#include "next.hpp"
#include "options.hpp"
#include "user.hpp"
#include "users.hpp"
#include "views.hpp"

// From the loading of the program to its end.
namespace vmsrs::preload {
namespace {

constinit Options options{};
constinit bool is_attached = false;

// Also for the library's own thread: no policy is in force while it starts.
void protect() {
  if (vmsrs_attach(&options.attach) == 0) {
    is_attached = true;
    set_policy(options.users);
    return;
  }
  dprintf(STDERR_FILENO, "vmsrs: %s\n", vmsrs_error_message());
  if (!options.runs_unprotected) {
    dprintf(STDERR_FILENO,
            "vmsrs: not started, for it would be unprotected (VMSRS_UNPROTECTED=run: start all "
            "the same)\n");
    refuse();
  }
  dprintf(STDERR_FILENO, "vmsrs: going on unprotected\n");
}

// A child of fork is nobody's yet. What its parent's regions show is its own from here on.
void begin_child() {
  set_policy(Users::kNone);
  guest::forget_user_in_frame();
  is_attached = false;
  reset_counts();
  make_views_private();
  if (options.children != Children::kNone)
    protect();
  else if (options.users != Users::kNone)
    note_left_out();
}

[[gnu::constructor(101)]] void start() {
  if (!is_program()) return;  // it will be executed, with this environment
  if (!read_options(options)) {
    dprintf(STDERR_FILENO, "vmsrs: VMSRS_SERVER is not set: unprotected (see vmsrs-run(1))\n");
    return;
  }
  if (options.children != Children::kAll) leave_environment();
  if (dlsym(RTLD_NEXT, "vmsrs_attach") != nullptr) {
    dprintf(STDERR_FILENO, "vmsrs: this program is linked with libvmsrs: it protects itself\n");
    refuse();
  }
  if (!make_dead_socket()) {
    dprintf(STDERR_FILENO, "vmsrs: socketpair: %s\n", strerrordesc_np(errno));
    refuse();
  }
  protect();
  if (!is_attached) return;
  open_views(options.region_bytes, options.region_count);
  pthread_atfork(nullptr, nullptr, begin_child);
}

// By its name, and only now: a program may close what it does not know, or its standard error.
[[gnu::destructor]] void end() {
  if (!is_attached || options.report == nullptr) return;
  const int file = open(options.report, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (file < 0) return;
  vmsrs_containment_status status{};
  vmsrs_get_containment(&status);
  const Counts& users = counts();
  dprintf(file,
          "vmsrs: pid %d: %lu users, %lu crashed, %lu faults observed, %lu system calls refused, "
          "%lu connections ended, %lu requests unprotected, %zu of %zu regions\n",
          getpid(), users.begun, status.crash_count, status.observed_count,
          status.refused_call_count, users.connections_ended, users.not_begun, view_count(),
          options.region_count);
  close(file);
}

}  // namespace
}  // namespace vmsrs::preload
