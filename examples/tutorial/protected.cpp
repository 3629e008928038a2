// SPDX-License-Identifier: Apache-2.0
#include <err.h>
#include <sys/mman.h>

#include <mutex>
#include <vmsrs/vmsrs.hpp>

#include "clients.h"

struct Shop {
  std::uint64_t sold, stock[511];  // a page, shared by all clients' threads
};
Shop* shop;
std::mutex lock;

void buy(std::uint64_t book, int client) {
  std::unique_lock held(lock, std::defer_lock);
  std::uint64_t sold = 0;
  auto order = [&] {
    held.lock();
    sold = vmsrs::load(&shop->sold) + 1;
    vmsrs::store(&shop->sold, sold);
    vmsrs::store(&shop->stock[book], vmsrs::load(&shop->stock[book]) - 1);  // the bug
  };
  auto let_go = [&] { held = {}; };  // called as soon as the user has crashed
  if (vmsrs::run_user(client, order, let_go) == VMSRS_FINISHED)
    dprintf(client, "one of %lu sold\n", sold);
  else
    dprintf(client, "your order failed, nothing was changed\n");
}

int main(int count, char** arguments) {
  if (count != 2) errx(2, "usage: %s SOCKET", arguments[0]);
  shop = static_cast<Shop*>(
      mmap(nullptr, sizeof *shop, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::uint64_t& copies : shop->stock) copies = 10;
  vmsrs_options options{};
  options.server_name = "shop";
  options.secret_file = "shop.secret";
  if (vmsrs_attach(&options) != 0 || profile(shop, sizeof *shop, 8) != 0)
    errx(1, "%s", vmsrs_error_message());
  return serve_clients(arguments[1], buy);
}
