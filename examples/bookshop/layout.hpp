// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// What lies in the shop's shared memory. One region, laid out as: the ledger, one row per title,
// the directory (order number -> slot), one row per order slot. Every field is a word of 8 bytes
// and every row starts on a 64-byte granule, so that no two titles or orders share an ownership
// unit. Nothing here is a lock: locks live outside the region (lock.hpp).
//
// The invariant of the whole: the sums over the rows' `sold` and `revenue_cents` equal the ledger's
// `item_count` and `revenue_cents`, and those equal the sums over the orders.
namespace bookshop {

constexpr std::size_t kGranuleBytes = 64;
constexpr std::size_t kMaxLines = 8;  // different titles in one order

struct alignas(kGranuleBytes) Row {
  std::uint64_t id;  // 1..titles
  std::uint64_t price_cents;
  std::uint64_t stock;
  std::uint64_t sold;
  std::uint64_t version;  // purchases of this title so far
  std::uint64_t revenue_cents;
  std::uint64_t reserved[2];
};
static_assert(sizeof(Row) == kGranuleBytes);

struct OrderLine {
  std::uint64_t title;
  std::uint64_t quantity;
  std::uint64_t version;  // the row's version that this purchase made
};

struct alignas(kGranuleBytes) OrderRow {
  std::uint64_t id;  // 0 until the order is checked out
  std::uint64_t user;
  std::uint64_t line_count;
  std::uint64_t item_count;
  std::uint64_t total_cents;
  std::uint64_t reserved[3];
  OrderLine lines[kMaxLines];
};
static_assert(sizeof(OrderRow) == 4 * kGranuleBytes);

struct alignas(kGranuleBytes) Ledger {
  std::uint64_t order_count;  // orders are numbered 1..order_count without a gap
  std::uint64_t item_count;
  std::uint64_t revenue_cents;
  std::uint64_t reserved[5];
};
static_assert(sizeof(Ledger) == kGranuleBytes);

struct Layout {
  std::size_t title_count;
  std::size_t order_capacity;

  std::size_t directory_bytes() const {
    return (order_capacity * sizeof(std::uint64_t) + kGranuleBytes - 1) / kGranuleBytes *
           kGranuleBytes;
  }
  std::size_t rows_offset() const { return sizeof(Ledger); }
  std::size_t directory_offset() const { return rows_offset() + title_count * sizeof(Row); }
  std::size_t orders_offset() const { return directory_offset() + directory_bytes(); }
  std::size_t bytes() const { return orders_offset() + order_capacity * sizeof(OrderRow); }
};

// Typed views of the region. What they point to is touched through memory.hpp only.
struct Region {
  Ledger* ledger;
  std::span<Row> rows;
  std::span<std::uint64_t> directory;
  std::span<OrderRow> orders;

  static Region over(std::byte* base, const Layout& layout) {
    return {
        reinterpret_cast<Ledger*>(base),
        {reinterpret_cast<Row*>(base + layout.rows_offset()), layout.title_count},
        {reinterpret_cast<std::uint64_t*>(base + layout.directory_offset()), layout.order_capacity},
        {reinterpret_cast<OrderRow*>(base + layout.orders_offset()), layout.order_capacity}};
  }
};

}  // namespace bookshop
