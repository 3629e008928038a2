// SPDX-License-Identifier: Apache-2.0
#include "shop.hpp"

#include <cinttypes>
#include <cstdio>

#include "memory.hpp"

namespace bookshop {

using memory::load;
using memory::load_word;
using memory::store;
using memory::store_word;

Shop::Shop(const Layout& layout, std::byte* base, const std::vector<CatalogueEntry>& catalogue)
    : region_(Region::over(base, layout)), locks_(layout.title_count) {
  // Nobody shares or protects the region yet: plain stores.
  for (std::size_t i = 0; i < catalogue.size(); ++i) {
    region_.rows[i] = {i + 1, catalogue[i].price_cents, catalogue[i].stock, 0, 0, 0, {}};
    initial_stock_ += catalogue[i].stock;
  }
  for (std::size_t slot = layout.order_capacity; slot > 0; --slot) free_slots_.push_back(slot - 1);
}

bool Shop::take_slot(std::size_t& slot) {
  const std::lock_guard guard(slots_mutex_);
  if (free_slots_.empty()) return false;
  slot = free_slots_.back();
  free_slots_.pop_back();
  return true;
}

void Shop::return_slot(std::size_t slot) {
  const std::lock_guard guard(slots_mutex_);
  free_slots_.push_back(slot);
}

Row Shop::read(std::uint64_t title, LockSet& locks) {
  locks.lock_shared(title - 1);
  return load(row(title));
}

Shop::Add Shop::add(Order& order, std::uint64_t title, std::uint64_t quantity, LockSet& locks) {
  ++order.add_count;
  locks.lock(title - 1);
  Row& shared = row(title);
  const std::uint64_t stock = load_word(&shared.stock);
  if (stock < quantity) return Add::out_of_stock;
  const std::uint64_t price = load_word(&shared.price_cents);
  const std::uint64_t version = load_word(&shared.version) + 1;

  store_word(&shared.stock, stock - quantity);
  store_word(&shared.sold, load_word(&shared.sold) + quantity);
  injector_.maybe_fault(order.user, order.add_count);  // the demonstration's bug, half-way
  store_word(&shared.version, version);
  store_word(&shared.revenue_cents, load_word(&shared.revenue_cents) + quantity * price);
  store(region_.orders[order.slot].lines[order.line_count++], OrderLine{title, quantity, version});
  return Add::added;
}

void Shop::checkout(Order& order, LockSet& locks) {
  locks.lock(locks_.ledger_index());
  OrderRow& shared = region_.orders[order.slot];
  OrderRow row = load(shared);
  const Ledger before = load(*region_.ledger);
  row.id = before.order_count + 1;
  row.user = order.user;
  row.line_count = order.line_count;
  row.item_count = 0;
  row.total_cents = 0;
  for (unsigned i = 0; i < order.line_count; ++i) {
    const OrderLine& line = row.lines[i];
    row.item_count += line.quantity;
    // A crashed user may read anything: its numbers are bounded here, and count for nothing.
    if (line.title == 0 || line.title > title_count()) continue;
    row.total_cents += line.quantity * load_word(&this->row(line.title).price_cents);
  }
  store(shared, row);
  if (row.id <= order_capacity()) store_word(&region_.directory[row.id - 1], order.slot);
  store(
      *region_.ledger,
      Ledger{
          row.id, before.item_count + row.item_count, before.revenue_cents + row.total_cents, {}});
  order.row = row;
}

void Shop::undo(Order& order, LockSet& locks) {
  OrderRow& shared = region_.orders[order.slot];
  for (unsigned i = 0; i < order.line_count; ++i) {
    const OrderLine line = load(shared.lines[i]);
    store(shared.lines[i], OrderLine{});
    if (line.title == 0 || line.title > title_count()) continue;  // see checkout()
    if (!locks.holds(line.title - 1)) locks.lock(line.title - 1);
    Row& bought = row(line.title);
    Row now = load(bought);
    now.stock += line.quantity;
    now.sold -= line.quantity;
    now.version -= 1;
    now.revenue_cents -= line.quantity * now.price_cents;
    store(bought, now);
  }
  order.line_count = 0;
}

bool Shop::order(std::uint64_t id, OrderRow& row, LockSet& locks) {
  locks.lock_shared(locks_.ledger_index());
  const std::uint64_t count = load_word(&region_.ledger->order_count);
  if (id == 0 || id > count || id > order_capacity()) return false;
  const std::uint64_t slot = load_word(&region_.directory[id - 1]);
  if (slot >= order_capacity()) return false;
  row = load(region_.orders[slot]);
  return true;
}

Audit Shop::audit(LockSet& locks) {
  for (std::size_t i = 0; i < locks_.count(); ++i) locks.lock_shared(i);
  Audit sums{};
  for (const Row& shared : region_.rows) {
    const Row row = load(shared);
    sums.stock += row.stock;
    sums.sold += row.sold;
    sums.revenue_cents += row.revenue_cents;
  }
  const Ledger ledger = load(*region_.ledger);
  sums.order_count = ledger.order_count;
  sums.item_count = ledger.item_count;
  sums.ledger_cents = ledger.revenue_cents;
  return sums;
}

void Shop::dump(std::string& text, LockSet& locks) {
  for (std::size_t i = 0; i < locks_.count(); ++i) locks.lock_shared(i);
  char line[256];
  for (const Row& shared : region_.rows) {
    const Row row = load(shared);
    std::snprintf(line, sizeof line,
                  "ROW %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                  row.id, row.price_cents, row.stock, row.sold, row.version, row.revenue_cents);
    text += line;
  }
  const Ledger ledger = load(*region_.ledger);
  for (std::uint64_t id = 1; id <= ledger.order_count && id <= order_capacity(); ++id) {
    const std::uint64_t slot = load_word(&region_.directory[id - 1]);
    if (slot >= order_capacity()) continue;
    const OrderRow row = load(region_.orders[slot]);
    std::snprintf(line, sizeof line,
                  "ORDER %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, row.id,
                  row.user, row.total_cents, row.item_count, row.line_count);
    text += line;
    for (std::uint64_t i = 0; i < row.line_count && i < kMaxLines; ++i) {
      std::snprintf(line, sizeof line, " %" PRIu64 ":%" PRIu64 ":%" PRIu64, row.lines[i].title,
                    row.lines[i].quantity, row.lines[i].version);
      text += line;
    }
    text += '\n';
  }
  std::snprintf(line, sizeof line, "LEDGER %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                ledger.order_count, ledger.item_count, ledger.revenue_cents);
  text += line;
}

}  // namespace bookshop
