// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <cinttypes>
#include <cstdio>
#include <string>

#include "memory.hpp"
#include "text.hpp"

namespace bookshop {

namespace {
constexpr std::uint64_t kMaxQuantity = 100;
constexpr std::uint64_t kMaxUser = 1'000'000;
constexpr const char* kRequests = "HELLO READ BEGIN ORDER AUDIT DUMP QUIT";
}  // namespace

template <typename Body>
bool Session::run_as_user(Body body) {
  struct Call {
    Session* session;
    Body* body;
  } call{this, &body};
  locks_.begin();
  const memory::Outcome outcome = memory::run_user(
      user_, [](void* p) { (*static_cast<Call*>(p)->body)(); },
      [](void* p) { static_cast<Call*>(p)->session->locks_.abandon(); }, &call);
  locks_.release_all();  // the scope has ended: committed, or everything restored
  if (outcome == memory::Outcome::finished) return true;
  if (outcome == memory::Outcome::refused)
    alive_ = channel_.reply("ERR busy: the shop can take no more users now");
  else
    alive_ = channel_.reply("FAILED your request had a fault; none of its changes counts");
  return false;
}

void Session::run() {
  std::string_view line;
  while (alive_) {
    switch (channel_.read(line, LineChannel::Clock::now() + limits_.idle)) {
      case LineChannel::Read::line:
        alive_ = handle(line) && alive_;
        break;
      case LineChannel::Read::too_long:
        alive_ = channel_.reply("ERR line: longer than %zu bytes", LineChannel::kMaxLineBytes);
        break;
      case LineChannel::Read::too_late:
        channel_.reply("ERR time: no request for %lld s, goodbye",
                       static_cast<long long>(limits_.idle.count()));
        return;
      case LineChannel::Read::closed:
        return;
    }
  }
}

bool Session::handle(std::string_view line) {
  const std::string_view request = next_word(line);
  if (request == "QUIT") return channel_.reply("BYE") && false;
  if (request == "HELLO") return hello(line);
  if (user_ == 0) return channel_.reply("ERR hello: say HELLO and your number first");
  if (request == "READ") return read(line);
  if (request == "ORDER") return show_order(line);
  if (!line.empty()) return channel_.reply("ERR usage: too many words, or an unknown request");
  if (request == "BEGIN") return order();
  if (request == "AUDIT") return audit();
  if (request == "DUMP") return dump();
  if (request == "ADD" || request == "CHECKOUT" || request == "CANCEL")
    return channel_.reply("ERR order: BEGIN one first");
  return channel_.reply("ERR request: expected one of %s", kRequests);
}

bool Session::hello(std::string_view rest) {
  if (!parse_number(rest, 1, kMaxUser, user_))
    return channel_.reply("ERR usage: HELLO USER, a number from 1 to %" PRIu64, kMaxUser);
  return channel_.reply("WELCOME %" PRIu64 " titles %zu", user_, shop_.title_count());
}

bool Session::read(std::string_view rest) {
  std::uint64_t title = 0;
  if (!parse_number(rest, 1, shop_.title_count(), title))
    return channel_.reply("ERR usage: READ TITLE, a number from 1 to %zu", shop_.title_count());
  Row row{};
  if (!run_as_user([&] { row = shop_.read(title, locks_); })) return alive_;
  return channel_.reply("ROW %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                        row.id, row.price_cents, row.stock, row.sold, row.version,
                        row.revenue_cents);
}

bool Session::show_order(std::string_view rest) {
  std::uint64_t id = 0;
  if (!parse_number(rest, 1, UINT32_MAX, id)) return channel_.reply("ERR usage: ORDER NUMBER");
  bool found = false;
  if (!run_as_user([&] { found = shop_.order(id, order_.row, locks_); })) return alive_;
  if (!found) return channel_.reply("ERR order: there is no order %" PRIu64, id);
  return report_order();
}

bool Session::audit() {
  Audit sums{};
  if (!run_as_user([&] { sums = shop_.audit(locks_); })) return alive_;
  return channel_.reply("AUDIT stock %" PRIu64 " sold %" PRIu64 " revenue %" PRIu64
                        " orders %" PRIu64 " items %" PRIu64 " ledger %" PRIu64 " agree %s",
                        sums.stock, sums.sold, sums.revenue_cents, sums.order_count,
                        sums.item_count, sums.ledger_cents,
                        sums.agrees(shop_.initial_stock()) ? "yes" : "no");
}

bool Session::dump() {
  std::string text;
  if (!run_as_user([&] { shop_.dump(text, locks_); })) return alive_;
  return channel_.send(text) && channel_.reply("END");
}

bool Session::order() {
  order_ = Order{};
  order_.user = user_;
  if (!shop_.take_slot(order_.slot))
    return channel_.reply("ERR full: the shop holds %zu orders at most", shop_.order_capacity());
  order_end_ = End::lost;
  // One user from BEGIN to CHECKOUT. The thread waits for its client inside the scope.
  const bool finished = run_as_user([this] { order_loop(); });
  if (!finished || order_end_ != End::checkout) shop_.return_slot(order_.slot);
  if (!finished) return alive_;  // a crashed user has been told, and its thread goes on serving
  switch (order_end_) {
    case End::checkout:
      return report_order();
    case End::cancel:
      return channel_.reply("CANCELLED");
    case End::late:
      return channel_.reply("ERR time: the order took too long and was cancelled");
    case End::lost:
      break;
  }
  return false;
}

void Session::order_loop() {
  if (!channel_.reply("BEGUN")) return shop_.undo(order_, locks_);
  const auto deadline = LineChannel::Clock::now() + limits_.order;
  for (;;) {
    std::string_view line;
    switch (channel_.read(line, deadline)) {
      case LineChannel::Read::line:
        if (!order_line(line)) return;
        break;
      case LineChannel::Read::too_long:
        channel_.reply("ERR line: longer than %zu bytes", LineChannel::kMaxLineBytes);
        break;
      case LineChannel::Read::too_late:
        order_end_ = End::late;
        return shop_.undo(order_, locks_);
      case LineChannel::Read::closed:
        return shop_.undo(order_, locks_);
    }
  }
}

bool Session::order_line(std::string_view line) {
  const std::string_view request = next_word(line);
  if (request == "ADD") {
    add(line);
  } else if (request == "CHECKOUT" && line.empty()) {
    if (order_.line_count == 0) {
      channel_.reply("ERR order: nothing in it");
      return true;
    }
    shop_.checkout(order_, locks_);
    order_end_ = End::checkout;
    return false;
  } else if (request == "CANCEL" && line.empty()) {
    shop_.undo(order_, locks_);
    order_end_ = End::cancel;
    return false;
  } else {
    channel_.reply("ERR order: expected ADD, CHECKOUT or CANCEL");
  }
  return true;
}

void Session::add(std::string_view rest) {
  std::uint64_t title = 0;
  std::uint64_t quantity = 0;
  if (!parse_number(next_word(rest), 1, shop_.title_count(), title) ||
      !parse_number(next_word(rest), 1, kMaxQuantity, quantity) || !rest.empty()) {
    channel_.reply("ERR usage: ADD TITLE QUANTITY, 1 to %zu and 1 to %" PRIu64, shop_.title_count(),
                   kMaxQuantity);
    return;
  }
  if (title <= order_.last_title) {
    channel_.reply("ERR order: titles must ascend; the last one was %" PRIu64, order_.last_title);
    return;
  }
  if (order_.line_count == kMaxLines) {
    channel_.reply("ERR order: %zu titles at most", kMaxLines);
    return;
  }
  order_.last_title = title;
  const Shop::Add outcome = shop_.add(order_, title, quantity, locks_);
  // The fault handler has let go of a crashed user's locks, unless the user destroyed the library's
  // memory of whom to call: so look again.
  if (memory::user_crashed() && !locks_.abandoned()) locks_.abandon();
  if (limits_.early_unlock) locks_.release_all();
  if (outcome == Shop::Add::added)
    channel_.reply("ADDED %" PRIu64 " %" PRIu64, title, quantity);
  else
    channel_.reply("ERR stock: fewer than %" PRIu64 " of title %" PRIu64, quantity, title);
}

bool Session::report_order() {
  const OrderRow& row = order_.row;
  char lines[kMaxLines * 64];
  std::size_t used = 0;
  lines[0] = '\0';
  for (std::uint64_t i = 0; i < row.line_count && i < kMaxLines; ++i)
    used += static_cast<std::size_t>(
        std::snprintf(lines + used, sizeof lines - used, " %" PRIu64 ":%" PRIu64 ":%" PRIu64,
                      row.lines[i].title, row.lines[i].quantity, row.lines[i].version));
  return channel_.reply("ORDER %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "%s",
                        row.id, row.user, row.total_cents, row.item_count, row.line_count, lines);
}

}  // namespace bookshop
