// SPDX-License-Identifier: Apache-2.0
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
  std::unique_lock held(lock, std::defer_lock);  // outside of the body: it is always destroyed
  std::uint64_t sold = 0;
  const int outcome = vmsrs::run_user(
      static_cast<std::uint64_t>(client),
      [&] {
        held.lock();
        sold = vmsrs::load(&shop->sold) + 1;
        vmsrs::store(&shop->sold, sold);
        std::uint64_t* const stock = &shop->stock[book];  // the bug is still there
        vmsrs::store(stock, vmsrs::load(stock) - 1);
      },
      [&] { if (held) held.unlock(); });  // as soon as the user has crashed
  if (outcome == VMSRS_FINISHED)
    dprintf(client, "one of %lu sold\n", sold);
  else
    dprintf(client, "your order failed, nothing was changed\n");
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  shop = static_cast<Shop*>(
      mmap(nullptr, sizeof *shop, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (std::uint64_t& copies : shop->stock) copies = 10;
  vmsrs_options options{};
  options.server_name = "shop";
  options.secret_file = arguments[2];
  if (vmsrs_attach(&options) != 0 || profile(shop, sizeof *shop, 8) != 0) {
    std::fprintf(stderr, "%s\n", vmsrs_error_message());
    return 1;
  }
  return serve_clients(arguments[1], buy);
}
