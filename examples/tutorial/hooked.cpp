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

// As in plain.cpp, to the letter.
void buy(std::uint64_t book, int client) {
  const std::scoped_lock held(lock);
  shop->sold += 1;
  shop->stock[book] -= 1;  // the bug: nobody looks whether there is such a book
  dprintf(client, "one of %lu sold\n", shop->sold);
}

void serve(std::uint64_t book, int client) {
  if (vmsrs::run_user(client, [&] { buy(book, client); }) != VMSRS_FINISHED)
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
  vmsrs_profile_options region{};
  region.eager = true;
  if (vmsrs_attach(&options) != 0 || vmsrs_profile(shop, sizeof *shop, 8, &region) < 0)
    errx(1, "%s", vmsrs_error_message());
  return serve_clients(arguments[1], serve);
}
