// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "line_channel.hpp"
#include "lock.hpp"
#include "shop.hpp"

// One client's connection: the text protocol (README.md), one request a line, one reply a line.
// Everything here happens on the connection's own thread.
namespace bookshop {

struct SessionLimits {
  bool early_unlock = false;  // let go of an ADD's lock at once: wrong on purpose, see README.md
  std::chrono::seconds idle{120};   // between requests, outside an order
  std::chrono::seconds order{120};  // from BEGIN to CHECKOUT
};

class Session {
 public:
  Session(Shop& shop, const SessionLimits& limits, int socket)
      : shop_(shop), limits_(limits), channel_(socket), locks_(shop.locks()) {}

  void run();

 private:
  enum class End { checkout, cancel, late, lost };  // how an order's loop came to its end

  bool handle(std::string_view line);  // false: the connection is done
  bool hello(std::string_view rest);
  bool read(std::string_view rest);
  bool show_order(std::string_view rest);
  bool audit();
  bool dump();
  bool order();
  void order_loop();  // from BEGIN to the order's end: the body of the user scope
  bool order_line(std::string_view line);  // false: the order's end was reached
  void add(std::string_view rest);
  bool report_order();

  // Runs `body` as one user whose locks go when its scope has ended, or at the instant of its
  // crash. False: it failed, and the client has been told so.
  template <typename Body>
  bool run_as_user(Body body);

  Shop& shop_;
  const SessionLimits& limits_;
  LineChannel channel_;
  LockSet locks_;
  std::uint64_t user_ = 0;  // 0: no HELLO yet
  Order order_{};
  End order_end_ = End::lost;
  bool alive_ = true;  // the connection
};

}  // namespace bookshop
