// SPDX-License-Identifier: Apache-2.0
// memcached as it is, and for each item that is stored one user with one store: the call at its end
// is the least that protection costs a request that stores. Protects nothing.
#include <err.h>
#include <stdlib.h>
#include <sysexits.h>
#include <vmsrs/vmsrs.h>

#include "memcached.h"

static _Alignas(4096) uint64_t words[512];

static void attach(void) {
  const vmsrs_options options = {.server_name = "memcached",
                                 .secret_file = getenv("MEMCACHED_SECRET"),
                                 .signal_mask_stays = true};
  if (vmsrs_attach(&options) != 0 || profile(words, sizeof words, 64) != 0)
    errx(EX_UNAVAILABLE, "%s", vmsrs_error_message());
}

enum store_item_type __real_store_item(item* item, int command, conn* c);
enum store_item_type __wrap_store_item(item* item, int command, conn* c) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, attach);  // after memcached's fork
  if (vmsrs_user_begin(0) != 0) errx(EX_SOFTWARE, "%s", vmsrs_error_message());
  vmsrs_store_u64(words, words[0] + 1);
  const enum store_item_type result = __real_store_item(item, command, c);
  if (vmsrs_user_end() != VMSRS_FINISHED) errx(EX_SOFTWARE, "%s", vmsrs_error_message());
  return result;
}
