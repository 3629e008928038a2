/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "signal_plugin.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>

void (*vmsrs_plugin_signal(int number, void (*handler)(int)))(int) {
  return signal(number, handler);
}

int vmsrs_plugin_looked_up_signal(int number, void (*handler)(int)) {
  int (*next)(int, const struct sigaction*, struct sigaction*);
  void* const found = dlsym(RTLD_NEXT, "sigaction");
  if (found == NULL) return -1;
  memcpy(&next, &found, sizeof next);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  return next(number, &action, NULL);
}
