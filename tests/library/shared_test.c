/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <vmsrs/vmsrs.h>

/* With the shared library: whose are the functions that install handlers? */
static int is_of_the_library(const char* function) {
  Dl_info where;
  void* const found = dlsym(RTLD_DEFAULT, function);
  const int is = found != NULL && dladdr(found, &where) != 0 &&
                 strstr(where.dli_fname, "libvmsrs.so") != NULL;
  printf("%s: %s\n", function, is ? "the library's" : "another's");
  return is;
}

int main(void) {
  struct sigaction action;
  if (vmsrs_sigaction(SIGSEGV, NULL, &action) != 0) return 2; /* and it links */
  return is_of_the_library("sigaction") && is_of_the_library("signal") ? 0 : 1;
}
