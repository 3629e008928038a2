/* SPDX-License-Identifier: Apache-2.0 */
#include <err.h>
#include <sys/mman.h>
#include <vmsrs/vmsrs.h>

#include "clients.h"

struct shop {
  uint64_t sold, stock[511]; /* a page, shared by all clients' threads */
};
static struct shop* shop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct order {
  uint64_t book, sold;
  bool locked;
};

static void carry_out(void* argument) {
  struct order* const order = argument;
  pthread_mutex_lock(&lock);
  order->locked = true;
  order->sold = vmsrs_load_u64(&shop->sold) + 1;
  vmsrs_store_u64(&shop->sold, order->sold);
  uint64_t* const stock = &shop->stock[order->book]; /* the bug is still there */
  vmsrs_store_u64(stock, vmsrs_load_u64(stock) - 1);
}

static void let_go(void* argument) { /* at the end, or as soon as the user has crashed */
  struct order* const order = argument;
  if (order->locked) pthread_mutex_unlock(&lock);
  order->locked = false;
}

static void buy(uint64_t book, int client) {
  struct order order = {.book = book};
  const int outcome = vmsrs_run_user((uint64_t)client, carry_out, &order, let_go, &order);
  let_go(&order);
  if (outcome == VMSRS_FINISHED)
    dprintf(client, "one of %lu sold\n", (unsigned long)order.sold);
  else
    dprintf(client, "your order failed, nothing was changed\n");
}

int main(int count, char** arguments) {
  if (count != 2) errx(2, "usage: %s SOCKET", arguments[0]);
  shop = mmap(NULL, sizeof *shop, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 511; ++i) shop->stock[i] = 10;
  const vmsrs_options options = {.server_name = "shop", .secret_file = "shop.secret"};
  if (vmsrs_attach(&options) != 0 || profile(shop, sizeof *shop, 8) != 0)
    errx(1, "%s", vmsrs_error_message());
  return serve_clients(arguments[1], buy);
}
