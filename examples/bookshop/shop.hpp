// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "catalogue.hpp"
#include "injection.hpp"
#include "layout.hpp"
#include "lock.hpp"

namespace bookshop {

// One user's order between BEGIN and its end. Lives outside the shared memory; used by one thread.
struct Order {
  std::uint64_t user;
  std::size_t slot;
  std::uint64_t last_title;  // titles ascend within an order: the lock order
  unsigned add_count;        // ADDs tried, refused ones included: what --inject counts
  unsigned line_count;       // titles bought
  OrderRow row;              // filled by checkout(), for the reply
};

struct Audit {
  std::uint64_t stock, sold, revenue_cents;  // sums over the titles
  std::uint64_t order_count, item_count, ledger_cents;
  bool agrees(std::uint64_t initial_stock) const {
    return sold == item_count && revenue_cents == ledger_cents && stock + sold == initial_stock;
  }
};

// What the shop does to its shared memory. Every function takes the locks that it needs into the
// caller's LockSet and leaves them there: the caller lets go of them when its user scope has ended.
// Titles are 1..title_count(); the caller has checked. Thread-safe, each thread with its own
// LockSet and Order.
class Shop {
 public:
  Shop(const Layout& layout, std::byte* base, const std::vector<CatalogueEntry>& catalogue);

  std::size_t title_count() const { return region_.rows.size(); }
  std::size_t order_capacity() const { return region_.orders.size(); }
  std::uint64_t initial_stock() const { return initial_stock_; }
  LockTable& locks() { return locks_; }
  Injector& injector() { return injector_; }

  // Slots of the order table: taken before the user scope begins; given back after it has ended if
  // the order came to nothing. False: all are taken.
  bool take_slot(std::size_t& slot);
  void return_slot(std::size_t slot);

  Row read(std::uint64_t title, LockSet& locks);

  enum class Add { added, out_of_stock };
  // The update of several words that the scenario is about.
  Add add(Order& order, std::uint64_t title, std::uint64_t quantity, LockSet& locks);
  void checkout(Order& order, LockSet& locks);
  // Gives back what the order bought; for a client that cancelled, left or was too slow. Nobody has
  // seen it, as the locks are held still (with early unlocking somebody may have: another reason
  // not to).
  void undo(Order& order, LockSet& locks);

  // False: no such order.
  bool order(std::uint64_t id, OrderRow& row, LockSet& locks);
  Audit audit(LockSet& locks);
  // Every row and order as lines of text.
  void dump(std::string& text, LockSet& locks);

 private:
  Row& row(std::uint64_t title) { return region_.rows[title - 1]; }

  Region region_;
  LockTable locks_;
  Injector injector_;
  std::uint64_t initial_stock_ = 0;
  std::mutex slots_mutex_;
  std::vector<std::size_t> free_slots_;
};

}  // namespace bookshop
