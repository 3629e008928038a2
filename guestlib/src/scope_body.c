/* SPDX-License-Identifier: Apache-2.0 */
#include "scope_body.h"

#include <stddef.h>

/* In C, and built with -fexceptions: frames of C take part in unwinding by libgcc alone, and the
 * library needs no C++ runtime for it. */
struct pass {
  void (*left)(void*); /* NULL: the body has returned */
  void* scope;
};

static void end(struct pass* pass) {
  if (pass->left != NULL) pass->left(pass->scope);
}

void vmsrs_guest_call_body(void (*body)(void*), void* argument, void (*left)(void*), void* scope) {
  struct pass pass __attribute__((cleanup(end))) = {left, scope};
  body(argument);
  pass.left = NULL;
}
