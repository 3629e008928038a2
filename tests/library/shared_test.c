/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <vmsrs/vmsrs.h>

/* With the shared library: whose are the functions that install handlers, and take locks? */
static int is_of_the_library(const char* function) {
  Dl_info where;
  void* const found = dlsym(RTLD_DEFAULT, function);
  const int is =
      found != NULL && dladdr(found, &where) != 0 && strstr(where.dli_fname, "libvmsrs.so") != NULL;
  printf("%s: %s\n", function, is ? "the library's" : "another's");
  return is;
}

int main(void) {
  struct sigaction action;
  if (vmsrs_sigaction(SIGSEGV, NULL, &action) != 0) return 2; /* and it links */
  static const char* const functions[] = {"sigaction",
                                          "signal",
                                          "pthread_mutex_lock",
                                          "pthread_mutex_unlock",
                                          "pthread_rwlock_rdlock",
                                          "pthread_rwlock_unlock"};
  int others = 0;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i)
    others += !is_of_the_library(functions[i]);
  /* Without a scope they are the C library's behind that, before the library is attached too. */
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  if (pthread_mutex_lock(&mutex) != 0 || pthread_mutex_trylock(&mutex) != EBUSY ||
      pthread_mutex_unlock(&mutex) != 0)
    return 3;
  return others == 0 ? 0 : 1;
}
