/* SPDX-License-Identifier: Apache-2.0 */
#include <err.h>
#include <sys/mman.h>

#include "clients.h"

struct shop {
  uint64_t sold, stock[511]; /* a page, shared by all clients' threads */
};
static struct shop* shop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void buy(uint64_t book, int client) {
  pthread_mutex_lock(&lock);
  shop->sold += 1;
  shop->stock[book] -= 1; /* the bug: nobody looks whether there is such a book */
  dprintf(client, "one of %lu sold\n", (unsigned long)shop->sold);
  pthread_mutex_unlock(&lock);
}

int main(int count, char** arguments) {
  if (count != 2) errx(2, "usage: %s SOCKET", arguments[0]);
  shop = mmap(NULL, sizeof *shop, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 511; ++i) shop->stock[i] = 10;
  return serve_clients(arguments[1], buy);
}
